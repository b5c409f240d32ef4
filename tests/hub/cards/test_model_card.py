from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards.model_card import model_card
from tests.helpers.reward.run_folder import RUN

REPO = "lab/reward-test"


def front(card: str) -> dict[str, Any]:
    head: dict[str, Any] = yaml.safe_load(card.split("---")[1])
    return head


def test_the_card_says_what_the_folder_says(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    card = model_card(saved, REPO, config)
    head = front(card)
    assert head["library_name"] == "transformers" and head["base_model"] == "nowhere/tiny-bert"
    assert head["ifllm_readers"] == ["worker_1", "worker_2"]
    for said in (
        "640 labelled pairs of 51 readers in 190 conversations",
        "`abc123abc123`",
        "Sessions it saw: 2",
        "protocol `worker`** (n = 787, 64 readers)",
        ".612 [.572, .652]",
        "length rule",
        "torch 2.13.0",
        "Seed 3",
        'pipeline("implicit-reward", model="lab/reward-test")',
    ):
        assert said in card, said
    for unsaid in ("gaze only", "MADE UP", "No measurement", "No record", "/somewhere", "{{"):
        assert unsaid not in card, unsaid


def test_the_card_invents_nothing(saved: Path) -> None:
    (saved / "run.json").unlink()
    (saved / "benchmark.json").unlink()
    card = model_card(saved, REPO, json.loads((saved / "config.json").read_text()))
    assert "No measurement came with this model" in card
    assert "No record of the training came with this model" in card
    for unsaid in ("Accuracy:", "labelled pairs", "Fingerprint", "Seed", "## Versions", ": None"):
        assert unsaid not in card, unsaid
    assert "base_model" not in front(card) and "ifllm_readers" not in front(card)


def test_made_up_data_is_called_made_up(saved: Path) -> None:
    run = {**RUN, "data": {**RUN["data"], "readers": ["worker_synthetic_0a"]}}  # type: ignore[dict-item]
    (saved / "run.json").write_text(json.dumps(run))
    assert "MADE UP" in model_card(saved, REPO, json.loads((saved / "config.json").read_text()))


@pytest.mark.parametrize("content", ["{", '[{"subset": "all", "accuracy": 0.6}]', "[3]"])
def test_a_broken_benchmark_is_not_shown(saved: Path, content: str) -> None:
    (saved / "benchmark.json").write_text(content)
    with pytest.raises(TableError, match="benchmark.json"):
        model_card(saved, REPO, json.loads((saved / "config.json").read_text()))
