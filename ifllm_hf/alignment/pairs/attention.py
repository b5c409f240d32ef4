"""Attention over one row of pairs, as `unpadded` lays them out; every other layer needs nothing.

Two forms, chosen by what the device can (`attention_for`):

* groups: answers are spread to rows of their own (`prompt + answer`), rows of like length are
  padded on the right to one length, and PyTorch's attention runs once for each group;
* variable length: one call for all answers, without padding. Queries stay where they are: of an
  answer that shares its prompt with the one before, the last queries alone. Keys and values are
  spread, and not even they where no prompt is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_GROUPS = "ifllm_pairs"
VARIABLE = "ifllm_pairs_varlen"
VARIABLE_FLASH = "ifllm_pairs_fa2"
FLASH = "flash_attention_2"
LAYOUT = ("rows", "place", "shared", "shared_place", "groups", "sequences")
_LARGEST_HEAD = 256  # of FlashAttention's kernels

Groups = list[tuple[int, int]]
Sequences = tuple[torch.Tensor, torch.Tensor, int, int]
Layout = tuple[
    torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Groups | None, Sequences | None
]
Varlen = Callable[..., torch.Tensor]


class _Spread(torch.autograd.Function):
    """(tokens, features) -> (places, features). Two look-ups; nothing is summed twice."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, *layout: torch.Tensor) -> torch.Tensor:
        rows, place, shared, shared_place = layout
        ctx.save_for_backward(place, shared, shared_place)
        return tokens.index_select(0, rows)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        place, shared, shared_place = ctx.saved_tensors
        (grad,) = grad_outputs
        tokens = grad.index_select(0, place)
        tokens.index_add_(0, shared, grad.index_select(0, shared_place))
        return tokens, None, None, None, None


class _Collect(torch.autograd.Function):
    """(places, features) -> (tokens, features)."""

    @staticmethod
    def forward(ctx: Any, spread: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place)
        ctx.places = spread.shape[0]
        return spread.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        (place,) = ctx.saved_tensors
        (grad,) = grad_outputs
        spread = grad.new_zeros((ctx.places, grad.shape[1]))
        return spread.index_copy_(0, place, grad), None


def _by_token(x: torch.Tensor) -> torch.Tensor:
    """(1, heads, tokens, head size) -> (tokens, heads, head size)."""
    return x.squeeze(0).transpose(0, 1)


def _spread(
    tensors: tuple[torch.Tensor, ...], look_up: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Each (1, heads, tokens, head size) -> (places, heads, head size), in one look-up."""
    if len({x.shape[3] for x in tensors}) > 1:
        return tuple(wide for x in tensors for wide in _spread((x,), look_up))
    tokens = torch.cat([_by_token(x) for x in tensors], dim=1)
    wide: torch.Tensor = _Spread.apply(tokens.flatten(1), *look_up)  # type: ignore[no-untyped-call]
    by_head = wide.view(-1, *tokens.shape[1:])
    return torch.split(by_head, [x.shape[1] for x in tensors], dim=1)


def pair_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    pair_layout: Layout | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers' interface over one row of pairs; without a layout it is SDPA.

    Args:
        module: The attention layer.
        query: (1, heads, tokens, head size), positions already rotated in.
        key: The same with the key heads.
        value: The same as `key`.
        attention_mask: Not used with a layout.
        dropout: As in SDPA.
        scaling: As in SDPA.
        pair_layout: The entries `LAYOUT` of a batch of `collate_unpadded`, with `groups`.
        sliding_window: Tokens that a layer looks back on, for layers that are limited so.
        **kwargs: Passed on.

    Returns:
        (1, tokens, heads, head size), and no weights.
    """
    if pair_layout is None:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found
    *look_up, groups, _ = pair_layout
    assert groups is not None
    # One split instead of a slice a group: its gradient is one `cat`, not a sum of padded slices.
    sizes = [answers * length for answers, length in groups]
    wide = _spread((query, key, value), tuple(look_up))
    parts = zip(*(torch.split(x, sizes) for x in wide), strict=True)
    outputs = []
    for (answers, length), part in zip(groups, parts, strict=True):
        mask = None
        if sliding_window is not None and sliding_window < length:
            back = torch.arange(length, device=query.device)
            back = back[:, None] - back[None, :]
            mask = ((back >= 0) & (back < sliding_window))[None, None]
        out, _ = sdpa_attention_forward(
            module,
            *(x.unflatten(0, (answers, length)).transpose(1, 2) for x in part),
            mask,
            dropout=dropout,
            scaling=scaling,
            is_causal=mask is None,
        )
        outputs.append(out.flatten(2).flatten(0, 1))
    heads, size = query.shape[1], value.shape[3]
    flat = torch.cat(outputs)
    collected: torch.Tensor = _Collect.apply(flat, look_up[1])  # type: ignore[no-untyped-call]
    return collected.view(1, -1, heads, size), None


def variable_attention(
    attend: Varlen,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    pair_layout: Layout | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """`pair_attention` in one call, for a layout with `sequences`.

    Args:
        attend: `attend(query, key, value, starts of queries, starts of keys, longest of each,
            scaling, window, dropout)`; causal, the last query at the last key.
        module: As in `pair_attention`, and so are the others.
        query: As there.
        key: As there.
        value: As there.
        attention_mask: As there.
        dropout: As there.
        scaling: As there.
        pair_layout: As there, with `sequences`.
        sliding_window: As there.
        **kwargs: As there.

    Returns:
        As there.
    """
    if pair_layout is None:
        return pair_attention(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    *look_up, _, sequences = pair_layout
    assert sequences is not None
    if torch.is_autocast_enabled(query.device.type):  # these kernels are not in its list
        half = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(half), key.to(half), value.to(half)
    if look_up[2].numel():
        keys, values = _spread((key, value), tuple(look_up))
    else:
        keys, values = _by_token(key), _by_token(value)
    window = -1 if sliding_window is None else sliding_window - 1
    out = attend(_by_token(query), keys, values, *sequences, scaling, window, dropout)
    return out.unsqueeze(0), None


def _torch_varlen(
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
    from torch.nn.attention.varlen import varlen_attn

    assert not dropout  # it has none, and `attention_for` knows
    out = varlen_attn(
        query,
        key,
        value,
        query_starts,
        key_starts,
        longest_query,
        longest_key,
        scale=scaling,
        window_size=(window, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, torch.Tensor)  # nothing else was asked for
    return out


def _flash_varlen(
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
    from flash_attn import flash_attn_varlen_func

    out: torch.Tensor = flash_attn_varlen_func(
        query,
        key,
        value,
        query_starts,
        key_starts,
        longest_query,
        longest_key,
        dropout_p=dropout,
        softmax_scale=scaling,
        causal=True,
        window_size=(window, 0),
    )
    return out


for _name, _attention in (
    (IN_GROUPS, pair_attention),
    (VARIABLE, partial(variable_attention, _torch_varlen)),
    (VARIABLE_FLASH, partial(variable_attention, _flash_varlen)),
):
    AttentionInterface.register(_name, _attention)
    AttentionMaskInterface.register(_name, sdpa_mask)


def attention_for(model: Any, device: torch.device, dtype: torch.dtype) -> str:
    """Name the form of attention that is the fastest where a model is trained.

    Args:
        model: One that can read unpadded pairs (`unpadded.reason_to_pad`).
        device: Where it computes.
        dtype: What attention is computed in.

    Returns:
        `VARIABLE_FLASH` where FlashAttention-2 was chosen by name; `VARIABLE` where PyTorch has its
        kernel: an NVIDIA GPU from Ampere on, 16 bits, and heads that it takes; else `IN_GROUPS`.
    """
    if model.config._attn_implementation in (FLASH, VARIABLE_FLASH):
        return VARIABLE_FLASH
    text = model.config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    fits = size % 8 == 0 and size <= _LARGEST_HEAD and getattr(text, "v_head_dim", size) == size
    drops = getattr(text, "attention_dropout", 0.0) or any(
        isinstance(part, torch.nn.Dropout) and part.p for part in model.modules()
    )
    has_kernel = (
        device.type == "cuda"
        and torch.version.cuda is not None
        and dtype in (torch.float16, torch.bfloat16)
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )
    return VARIABLE if has_kernel and fits and not drops else IN_GROUPS
