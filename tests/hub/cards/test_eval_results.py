"""`.eval_results/`: what was held out and nothing else, as huggingface_hub reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from ifllm_hf.errors import ConfigError
from ifllm_hf.hub.cards.eval_results import EVAL_RESULTS_FILE, eval_results
from ifllm_hf.hub.cards.model_card import model_card
from ifllm_hf.hub.publish.model import push_model
from tests.helpers.reward.run_folder import RUN

REPO = "lab/reward-test"
SCORE = {
    "protocol": "worker", "n": 147, "workers": 37, "accuracy": 0.612345, "low": 0.572, "high": 0.652
}  # fmt: skip


def run(**changes: Any) -> dict[str, Any]:
    settings = {**RUN["settings"], "eval_fold": 3, "labels": None}  # type: ignore[dict-item]
    data = {**RUN["data"], "dataset": "lab/ifllm"}  # type: ignore[dict-item]
    return {**RUN, "settings": settings, "data": data, "result": {"held_out": SCORE}, **changes}


def test_the_held_out_score_is_an_entry_of_the_hub() -> None:
    text = eval_results(run(), REPO)
    assert text is not None
    (entry,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("lab/ifllm", "pairwise", 0.6123)
    assert entry.source_url is not None and entry.source_url.endswith(f"/{REPO}/blob/main/run.json")
    assert entry.notes == (
        "accuracy on 147 pairs of 37 readers whom it was not trained on (protocol worker, fold 3); "
        "95 % over readers 0.572 to 0.652"
    )


def test_one_reader_has_no_interval_and_made_up_ones_are_called_so() -> None:
    alone = {k: v for k, v in SCORE.items() if k not in ("low", "high")}
    data = {"dataset": "lab/made-up", "readers": ["worker_synthetic_0a"]}
    text = eval_results(run(result={"held_out": alone}, data=data), REPO)
    assert text is not None and "95 %" not in text and "readers are made up" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"result": {"steps": 5}},
        {"settings": {"eval_fold": 3, "labels": "pairs.parquet"}},
    ],
)
def test_nothing_is_said_where_nobody_was_held_out(changes: dict[str, Any]) -> None:
    assert eval_results(run(**changes), REPO) is None
    with pytest.raises(ConfigError, match="--eval_fold"):
        eval_results(run(**changes), REPO, "lab/ifllm")


def test_a_copy_of_the_data_needs_the_name_of_the_dataset() -> None:
    of_a_copy = run(data={**RUN["data"], "dataset": "ifllm"})  # type: ignore[dict-item]
    assert eval_results(of_a_copy, REPO) is None
    text = eval_results(of_a_copy, REPO, "lab/other")
    assert text is not None and yaml.safe_load(text)[0]["dataset"]["id"] == "lab/other"
    with pytest.raises(ConfigError, match="ORG/NAME"):
        eval_results(of_a_copy, REPO, "ifllm")


def test_a_push_brings_it_and_the_card_says_the_same(hub: Any, saved: Path) -> None:
    push_model(saved, REPO)
    assert EVAL_RESULTS_FILE not in hub.files(REPO, "models")
    (saved / "run.json").write_text(json.dumps(run()))
    (saved / "benchmark.json").unlink()
    push_model(saved, REPO, evaluated_on="lab/other")
    files = hub.files(REPO, "models")
    assert yaml.safe_load(files[EVAL_RESULTS_FILE])[0]["dataset"]["id"] == "lab/other"
    card = files["README.md"].decode()
    assert "These weights: **0.612**, accuracy on 147 pairs of 37 readers" in card
    assert "No measurement" not in card


def test_the_card_is_silent_without_a_score(saved: Path) -> None:
    card = model_card(saved, REPO, json.loads((saved / "config.json").read_text()))
    assert "These weights" not in card
