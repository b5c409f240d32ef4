"""Pairs whose answers are the same where they are cut teach nothing: left out and counted."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.errors import DataError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
LONG = "The tides rise and fall twice a day because of the moon. " * 8


def rows(equal: int, apart: int) -> list[dict[str, Any]]:
    """Return pairs that differ at their end only, then pairs that differ from the start."""
    made = [(f"tides {i}?", f"{LONG}Right.", f"{LONG}Wrong.") for i in range(equal)]
    made += [(f"rust {i}?", f"Good {LONG}", f"Bad {LONG}") for i in range(apart)]
    return [{"prompt": p, "chosen": c, "rejected": r, "confidence": 0.8} for p, c, r in made]


def test_both_sides_leave_them_out(make_trainer: Callable[..., Any]) -> None:
    from datasets import Dataset

    train, held_out = Dataset.from_list(rows(3, 2)), Dataset.from_list(rows(1, 4))
    trainer = make_trainer(data=train, eval_dataset=held_out, max_length=40)
    assert trainer.equal == {"train": 3, "eval": 1}
    assert trainer.cut == {"train": 2, "eval": 4}
    assert [row["prompt"] for row in trainer.train_dataset] == ["rust 0?", "rust 1?"]
    assert [row["prompt"] for row in trainer.eval_dataset] == [f"rust {i}?" for i in range(4)]
    whole = make_trainer(data=train, eval_dataset=held_out, max_length=2048)
    assert (whole.equal, len(whole.train_dataset)) == ({"train": 0, "eval": 0}, 5)


def test_a_run_without_any_other_pair_is_refused(make_trainer: Callable[..., Any]) -> None:
    from datasets import Dataset

    with pytest.raises(DataError, match="same up to max_length 40"):
        make_trainer(data=Dataset.from_list(rows(3, 0)), max_length=40)


def test_a_run_counts_them_in_its_ledger_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.pairs.format import DROPPED_EQUAL
    from ifllm_hf.alignment.policy.config import PolicyConfig

    both = [{**row, "fold": fold} for fold in (0, 1) for row in rows(2 + fold, 3)]
    for row in both:
        row["prompt"] = f"{row['fold']}: {row['prompt']}"
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in both))
    with caplog.at_level(logging.INFO):
        out = run_dpo(
            PolicyConfig(
                model_name_or_path="tiny-random/llama", method="lora", dtype="float32", lora_r=4
            ),
            PairDPOConfig(
                output_dir=str(tmp_path / "out"),
                use_cpu=True,
                bf16=False,
                max_steps=1,
                gradient_checkpointing=False,
                save_strategy="no",
                eval_strategy="steps",
                eval_steps=1,
                disable_tqdm=True,
                max_length=60,
                dataloader_pin_memory=False,
            ),
            PairDataConfig(dataset=str(file), eval_fold=1),
        )
    data = json.loads((out / "run.json").read_text())["data"]
    assert (data["train"], data["held_out"]) == (3, 3)
    assert (data["ledger"]["seen"], data["ledger"]["kept"]) == (11, 6)
    assert data["ledger"]["dropped"] == {DROPPED_EQUAL: 5}
    assert DROPPED_EQUAL in caplog.text
