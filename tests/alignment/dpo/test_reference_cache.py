from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from ifllm_hf.alignment.dpo import reference_cache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path))
    return tmp_path / "reference"


def tokens(**changed: list[list[int]]) -> Dataset:
    rows = {"prompt_ids": [[1, 2], [3]], "chosen_ids": [[4], [5, 6]], "rejected_ids": [[7], [8]]}
    return Dataset.from_dict({**rows, **changed})


def test_the_key_changes_with_tokens_their_sides_weights_and_length() -> None:
    keys = {
        reference_cache.reference_key(data, weights, max_length)
        for data, weights, max_length in (
            (tokens(), "w", 8),
            (tokens(), "v", 8),
            (tokens(), "w", 9),
            (tokens(), "w", None),
            (tokens(chosen_ids=[[7], [8]], rejected_ids=[[4], [5, 6]]), "w", 8),
            (tokens(prompt_ids=[[1], [3]], chosen_ids=[[2, 4], [5, 6]]), "w", 8),
            (tokens().select([1, 0]), "w", 8),
        )
    }
    assert len(keys) == 7
    assert reference_cache.reference_key(tokens(), "w", 8) in keys


def llama(**changed: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=50, intermediate_size=70, **{**sizes, **changed})
    return LlamaForCausalLM(config)


def swapped_rows(model: Any) -> None:
    weight = model.model.embed_tokens.weight
    weight[[3, 7]] = weight[[7, 3]]


def swapped_columns(model: Any) -> None:
    weight = model.model.layers[0].mlp.down_proj.weight
    weight[:, [0, 1]] = weight[:, [1, 0]]


def negated_head(model: Any) -> None:
    model.model.layers[0].self_attn.q_proj.weight[16:32] *= -1


def negated_entries(model: Any) -> None:
    model.lm_head.weight.view(-1)[[1, 3]] *= -1  # the highest bits of two pairs


def scaled_norm(model: Any) -> None:
    model.model.norm.weight *= 2


def one_bit(model: Any) -> None:
    model.lm_head.weight.view(torch.int16 if model.dtype.itemsize == 2 else torch.int32)[
        -1, -1
    ] ^= 1


CHANGES = (swapped_rows, swapped_columns, negated_head, negated_entries, scaled_norm, one_bit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_changes_a_weight_or_its_place_changes_the_identity(dtype: torch.dtype) -> None:
    found = {reference_cache.reference_identity(llama().to(dtype), None)}
    for change in CHANGES:
        model = llama().to(dtype)
        with torch.no_grad():
            change(model)
        found.add(reference_cache.reference_identity(model, None))
    assert len(found) == 1 + len(CHANGES)
    assert reference_cache.reference_identity(llama().to(dtype), None) in found


@pytest.mark.parametrize("size", [1, 3, 65_536, 65_537, 5 * 65_536 + 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float32, torch.float64])
def test_every_size_and_dtype_is_hashed_to_its_last_weight(size: int, dtype: torch.dtype) -> None:
    def identity(values: torch.Tensor) -> str:
        model = torch.nn.Module()
        model.register_buffer("values", values)
        return reference_cache.reference_identity(model, None)

    values = torch.arange(size + 1).remainder(100).to(dtype)
    before = identity(values[1:])  # which begins in the middle of a word
    assert identity(values[1:].clone()) == before
    for place in {1, size}:
        changed = values.clone()
        changed[place] += 1
        assert identity(changed[1:]) != before


@pytest.mark.parametrize(
    "changed",
    [
        {"rms_norm_eps": 1e-3},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    ],
)
def test_a_config_that_changes_the_function_changes_the_identity(changed: Any) -> None:
    before = reference_cache.reference_identity(llama(), None)
    assert reference_cache.reference_identity(llama(**changed), None) != before


def test_names_and_versions_in_a_config_do_not() -> None:
    before, model = reference_cache.reference_identity(llama(), None), llama()
    model.config._name_or_path = "elsewhere"
    model.config.transformers_version = "9.9"
    model.config.pad_token_id, model.config.use_cache = 1, False
    model.config.architectures = ["Other"]
    assert reference_cache.reference_identity(model, None) == before


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_strength_of_an_adapter_is_part_of_it_and_its_place_is_not() -> None:
    from peft import LoraConfig, get_peft_model

    def identity(adapter: str | None = "default", place: str = "here", **settings: Any) -> str:
        config = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["v_proj"], **settings)
        model = get_peft_model(llama(), config)
        model.peft_config["default"].base_model_name_or_path = place
        return reference_cache.reference_identity(model, adapter)

    before = identity()
    assert identity(place="elsewhere") == before
    assert len({before, identity(lora_alpha=32), identity(use_rslora=True), identity(None)}) == 4
    assert identity(None) == identity(None, lora_alpha=32)


def test_weights_that_are_spread_over_processes_are_hashed_where_they_are() -> None:
    """ZeRO-3 leaves an empty parameter, which carries the share of this process."""

    def identity(share: torch.Tensor) -> str:
        model = torch.nn.Linear(1, 1, bias=False)
        model.weight = torch.nn.Parameter(torch.empty(0))
        model.weight.ds_tensor = share
        return reference_cache.reference_identity(model, None)

    one, other = identity(torch.tensor([1.0])), identity(torch.tensor([2.0]))
    assert one != other
    assert reference_cache.identity_of_all([one, one]) == one
    assert len({reference_cache.identity_of_all(p) for p in ([one, other], [other, one])}) == 2


def test_what_is_kept_is_found_and_what_is_broken_is_not(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.array([[-1.5, -2.0], [-3.0, -4321.9876]])
    assert reference_cache.load("k") is None
    reference_cache.save("k", values)
    found = reference_cache.load("k")
    assert found is not None
    np.testing.assert_array_equal(found, values)
    assert [file.name for file in cache.iterdir()] == ["k.npy"]
    for broken in (b"", (cache / "k.npy").read_bytes()[:-3]):
        (cache / "k.npy").write_bytes(broken)
        assert reference_cache.load("k") is None
        assert "its values are computed again" in caplog.text


def test_a_cache_that_cannot_be_written_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "file"))
    reference_cache.save("k", np.zeros((1, 2)))
    assert "are not kept for later runs" in caplog.text


def test_rows_of_a_batch_are_about_equally_long() -> None:
    data = tokens(prompt_ids=[[1], [1, 2]], chosen_ids=[[1], [1]], rejected_ids=[[1], [1] * 5])
    lengths = reference_cache.row_lengths(data)
    assert reference_cache.longest_first(lengths).tolist() == [1, 0]
