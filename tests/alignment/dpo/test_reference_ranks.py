"""Ranks of the reference give the values of one process, and never those of another reference."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.alignment.dpo import named_reference, reference_cache, reference_ranks
from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.dpo.reference_ranks import ReferenceRanks, parts_of, reference_folder
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.policies import load, lora

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]
MADE_OF = {"torch": "2", "model": "m", "pairs": "p"}


@pytest.fixture
def make(
    tiny: Callable[..., Path], make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Make:
    """Make a trainer whose reference is computed before, in a cache of its own."""
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "cache"))

    def call(model: Any = None, **settings: Any) -> Any:
        base = {"precompute_ref_log_probs": True, "per_device_train_batch_size": 4}
        return make_trainer(model or load(tiny()), **{"peft_config": lora(), **base, **settings})

    return call


def cached(place: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (place / "reference").iterdir()}


def test_ranks_make_the_cache_of_one_process_and_the_run_computes_nothing(
    make: Make,
    pairs: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    both = {"eval_dataset": pairs.select(range(5)), "eval_strategy": "steps", "eval_steps": 1}
    with monkeypatch.context() as patch:
        patch.setenv("IFLLM_CACHE", str(tmp_path / "alone"))
        make(**both)
    work = reference_folder(tmp_path / "run")
    assert not work.exists()
    for rank in (2, 0):
        make(reference_rank=f"{rank}/3", **both)
    first = work / "train" / "ranks" / "00000.json"
    written = first.stat().st_mtime_ns

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    # The values are there, and no record says that they are whole.
    with monkeypatch.context() as patch:
        patch.setattr(reference_ranks, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            make(reference_rank="1/3", **both)
    with caplog.at_level("INFO"):
        make(reference_rank="1/3", **both)
        make(reference_rank="0/3", **both)
    assert "train: rank 1 of 3 is done; left: none" in caplog.text
    assert "rank 0 of 3 is there" in caplog.text and first.stat().st_mtime_ns == written
    assert not (tmp_path / "cache").exists()  # a part is no reference
    monkeypatch.setattr(named_reference.NamedReferenceTrainer, "compute_ref_log_probs", killed)
    trainer = make(**both)
    assert cached(tmp_path / "cache") == cached(tmp_path / "alone")
    trainer.train()
    assert trainer.step0_margin == pytest.approx(0.0, abs=1e-5)


def test_the_run_computes_ranks_that_are_left_and_no_other(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(reference_rank="1/3")
    read: list[int] = []
    whole = named_reference.NamedReferenceTrainer.compute_ref_log_probs

    def counted(self: Any, model: Any, inputs: Any) -> Any:
        read.append(len(inputs["confidence"]))
        return whole(self, model, inputs)

    monkeypatch.setattr(named_reference.NamedReferenceTrainer, "compute_ref_log_probs", counted)
    make()
    assert sum(read) == 16  # of 24 pairs
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "alone"))
    make(output_dir=str(tmp_path / "other"))
    assert cached(tmp_path / "alone") == cached(tmp_path / "cache")


def other_model(make: Make, tiny: Callable[..., Path], pairs: Any) -> Any:
    model = load(tiny())
    with torch.no_grad():
        model.model.norm.weight *= 2
    return make(model)


def other_adapter(make: Make, tiny: Callable[..., Path], pairs: Any) -> Any:
    from peft import get_peft_model

    return make(get_peft_model(load(tiny()), lora(init_lora_weights=False)), peft_config=None)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (other_model, "model"),
        (other_adapter, "model"),
        (lambda make, tiny, pairs: make(load(tiny()).to(torch.bfloat16)), "model"),
        (lambda make, tiny, pairs: make(data=pairs.select(range(23))), "pairs"),
        (lambda make, tiny, pairs: make(max_length=40), "max_length 1024, and here 40"),
        (lambda make, tiny, pairs: make(per_device_train_batch_size=8), "batch size 4, and here 8"),
        (lambda make, tiny, pairs: make(reference_rank="0/2"), "ranks 3, and here 2"),
    ],
)
def test_ranks_of_another_reference_are_refused(
    other: Any, said: str, make: Make, tiny: Callable[..., Path], pairs: Any
) -> None:
    make(reference_rank="1/3")
    with pytest.raises(ConfigError, match=rf"holds ranks of another reference \({said}"):
        other(make, tiny, pairs)


@pytest.fixture
def ranks(tmp_path: Path) -> ReferenceRanks:
    made = ReferenceRanks(tmp_path / "ranks", MADE_OF)
    for rank in range(2):
        made.write(rank, 2, np.full((3, 2), -1.5 - rank))
    return made


@pytest.mark.parametrize("name", MADE_OF)
def test_versions_are_part_of_what_ranks_are_made_of(name: str, ranks: ReferenceRanks) -> None:
    later = ReferenceRanks(ranks.folder, {**MADE_OF, name: "another"})
    for call in (later.number, lambda: later.read(0), lambda: later.write(0, 2, np.zeros((3, 2)))):
        with pytest.raises(ConfigError, match=f"{name} {MADE_OF[name]}, and here another"):
            call()
    assert ranks.read(0) is not None


@pytest.mark.parametrize("damage", ["cut short", "bit flipped", "gone", "half a record", "{}"])
def test_a_damaged_rank_is_done_again(
    damage: str, ranks: ReferenceRanks, caplog: pytest.LogCaptureFixture
) -> None:
    values = ranks.folder / "ranks" / "00000.npy"
    content = bytearray(values.read_bytes())
    if damage == "gone":
        values.unlink()
    elif damage in ("{}", "half a record"):
        text = values.with_suffix(".json").read_text()
        values.with_suffix(".json").write_text("{}" if damage == "{}" else text[:20])
    else:
        content[-1] ^= 1
        values.write_bytes(content[:-9] if damage == "cut short" else content)
    assert ranks.read(0) is None and "done again" in caplog.text
    assert ranks.number() == 2
    np.testing.assert_array_equal(ranks.read(1), np.full((3, 2), -2.5))  # type: ignore[arg-type]


def test_ranks_of_two_cuts_are_refused(ranks: ReferenceRanks) -> None:
    file = ranks.folder / "ranks" / "00001.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"ranks": 3}))
    with pytest.raises(ConfigError, match="cut into 2 and 3 parts"):
        ranks.number()


def test_parts_are_whole_batches_in_the_order_of_one_process() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 103)
    order = reference_cache.longest_first(lengths)
    for ranks in (1, 2, 5, 40):
        parts = parts_of(lengths, 4, ranks)
        assert len(parts) == ranks and np.concatenate(parts).tolist() == order.tolist()
        *whole, _ = [part for part in parts if len(part)]
        assert all(len(part) % 4 == 0 for part in whole)
    tokens = [int(lengths[part].sum()) for part in parts_of(lengths, 4, 5)]
    assert max(tokens) < 1.3 * min(tokens)


@pytest.mark.parametrize("text", ["3/3", "1", "1/", "/2", "-1/2", "a/b", "0/0"])
def test_a_rank_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected K/N with K from 0 to N - 1"):
        PairDPOConfig("out", use_cpu=True, bf16=False, reference_rank=text)


def test_a_rank_whose_values_no_run_would_read_is_refused() -> None:
    with pytest.raises(ConfigError, match="set precompute_ref_log_probs: true"):
        PairDPOConfig("out", use_cpu=True, bf16=False, reference_rank="0/2")
