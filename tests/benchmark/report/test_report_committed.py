"""The committed report is what the command prints today: models that fit fast, run anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ifllm_hf.benchmark.protocol.prepared_turns import load_prepared
from ifllm_hf.benchmark.protocol.rows import labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.scores import Scored, score
from ifllm_hf.benchmark.protocol.suite import HEADLINE, PAPER
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.length_rule import LengthRule

_REPORT = Path(__file__).parents[3] / "docs" / "benchmark" / "report.json"


@pytest.mark.slow
def test_the_committed_scores_are_those_of_a_fresh_run(prepared_release: Path) -> None:
    rows = load_prepared(prepared_release, ablations=False)
    committed = {
        (r["model"], r["set"]): r
        for r in json.loads(_REPORT.read_text(encoding="utf-8"))
        if r.get("protocol") == "worker" and r.get("subset") == "all"
    }
    for set_name, ids in ((PAPER, rows.paper_ids), (HEADLINE, None)):
        data = labelled(rows.turns, ids=ids)
        for model in (LengthRule(), baselines.first_behavior_model(), baselines.default_model()):
            found = cross_validate(model, data, "worker", swap=rows.swap, progress=False)
            fresh = score(Scored(found, data))
            told = committed[model.name, set_name]
            for name, value in fresh.items():
                assert told[name] == pytest.approx(value, abs=1e-6), (model.name, set_name, name)
