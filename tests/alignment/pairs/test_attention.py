"""One call for answers of all lengths gives what groups of padded rows give."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

HEADS, KEY_HEADS, SIZE = 4, 2, 8


def by_sdpa(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest_query: int,
    longest_key: int,
    scaling: float | None,
    window: int,
    dropout: float,
) -> torch.Tensor:
    """What a kernel of variable length computes: causal, the last query at the last key."""
    assert query_starts.dtype == key_starts.dtype == torch.int32
    assert longest_query == int(query_starts.diff().max())
    assert longest_key == int(key_starts.diff().max())
    assert int(query_starts[-1]) == len(query)
    assert int(key_starts[-1]) == len(key) == len(value)
    out = []
    for i in range(len(query_starts) - 1):
        mine = query[query_starts[i] : query_starts[i + 1]].transpose(0, 1)
        keys, values = (x[key_starts[i] : key_starts[i + 1]].transpose(0, 1) for x in (key, value))
        n, m = mine.shape[1], keys.shape[1]
        back = torch.arange(n)[:, None] + (m - n) - torch.arange(m)[None, :]
        mask = (back >= 0) & ((back <= window) if window >= 0 else True)
        out.append(
            torch.nn.functional.scaled_dot_product_attention(
                mine, keys, values, mask, dropout, scale=scaling, enable_gqa=True
            ).transpose(0, 1)
        )
    return torch.cat(out)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("prompts", [(1, 1, 1), (4, 1, 6)])
def test_variable_length_equals_groups(prompts: tuple[int, ...], window: int | None) -> None:
    from ifllm_hf.alignment.pairs.attention import LAYOUT, pair_attention, variable_attention
    from ifllm_hf.alignment.pairs.unpadded import collate_unpadded

    rng = np.random.default_rng(0)
    examples = [
        {
            "prompt_ids": [1] * prompt,
            "chosen_ids": [2] * int(rng.integers(1, 9)),
            "rejected_ids": [3] * int(rng.integers(1, 9)),
        }
        for prompt in prompts
    ]
    module = torch.nn.Module()
    module.num_key_value_groups = HEADS // KEY_HEADS
    seen = []
    for variable in (False, True):
        batch = collate_unpadded(examples, None, variable=variable)
        tokens = batch["input_ids"].shape[1]
        torch.manual_seed(0)
        inputs = [
            torch.randn(1, heads, tokens, SIZE, requires_grad=True)
            for heads in (HEADS, KEY_HEADS, KEY_HEADS)
        ]
        attend = partial(variable_attention, by_sdpa) if variable else pair_attention
        out, _ = attend(
            module, *inputs, None, scaling=0.3, sliding_window=window,
            pair_layout=tuple(batch[name] for name in LAYOUT),
        )  # fmt: skip
        out.backward(torch.linspace(-1, 1, out.numel()).view_as(out))
        seen.append((out.detach(), *(x.grad for x in inputs)))
    assert (batch["shared"].numel() == 0) == (max(prompts) == 1)
    for groups, varlen in zip(*seen, strict=True):
        torch.testing.assert_close(varlen, groups, rtol=1e-4, atol=1e-5)


def model_of(implementation: str = "sdpa", drop: float = 0.0, **settings: Any) -> Any:
    text = SimpleNamespace(**{"num_attention_heads": 4, "hidden_size": 256, **settings})
    config = SimpleNamespace(_attn_implementation=implementation, get_text_config=lambda: text)
    return SimpleNamespace(config=config, modules=lambda: [torch.nn.Dropout(drop)])


@pytest.mark.parametrize(
    ("model", "device", "dtype", "capability", "expected"),
    [
        (model_of(), "cuda", torch.bfloat16, (9, 0), "VARIABLE"),
        (model_of(), "cuda", torch.float16, (8, 0), "VARIABLE"),
        (model_of(), "cuda", torch.float32, (9, 0), "IN_GROUPS"),
        (model_of(), "cuda", torch.bfloat16, (7, 5), "IN_GROUPS"),
        (model_of(), "cpu", torch.bfloat16, (9, 0), "IN_GROUPS"),
        (model_of(head_dim=320), "cuda", torch.bfloat16, (9, 0), "IN_GROUPS"),
        (model_of(v_head_dim=128), "cuda", torch.bfloat16, (9, 0), "IN_GROUPS"),
        (model_of(attention_dropout=0.1), "cuda", torch.bfloat16, (9, 0), "IN_GROUPS"),
        (model_of(drop=0.1), "cuda", torch.bfloat16, (9, 0), "IN_GROUPS"),
        (model_of("flash_attention_2", 0.1), "cuda", torch.bfloat16, (9, 0), "VARIABLE_FLASH"),
    ],
)
def test_the_device_decides_which_form_it_is(
    model: Any,
    device: str,
    dtype: torch.dtype,
    capability: tuple[int, int],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ifllm_hf.alignment.pairs import attention

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    form = attention.attention_for(model, torch.device(device), dtype)
    assert form == getattr(attention, expected)


def test_the_kernels_are_called_as_they_want_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect
    import sys

    from torch.nn.attention import varlen

    from ifllm_hf.alignment.pairs import attention

    calls = []
    signature = inspect.signature(varlen.varlen_attn)

    def kernel(*args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append((args, kwargs))
        return args[0]

    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_varlen_func=kernel))
    q, k = torch.zeros(3, 4, 8), torch.zeros(3, 2, 8)
    starts = torch.tensor([0, 3], dtype=torch.int32)
    attention._torch_varlen(q, k, k, starts, starts, 3, 3, 0.5, -1, 0.0)
    attention._flash_varlen(q, k, k, starts, starts, 3, 3, 0.5, 2, 0.1)
    signature.bind(*calls[0][0], **calls[0][1])
    assert calls[0][1] == {"scale": 0.5, "window_size": (-1, 0), "enable_gqa": True}
    assert calls[1][1] == {
        "dropout_p": 0.1, "softmax_scale": 0.5, "causal": True, "window_size": (2, 0)
    }  # fmt: skip
