from __future__ import annotations

from ifllm_hf.benchmark.goals import goal_notes
from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.reward.baselines import choice as baselines


def test_goals_say_met_or_not() -> None:
    base = {"model": baselines.default_model().name, "set": HEADLINE, "n": 10}
    ends = dict.fromkeys(("low", "high", "auc_low", "auc_high"), 0.5)
    scores = {"accuracy": 0.66, "auc": 0.69, "ece": 0.05, "ece_perfect": 0.04}
    row = {**base, **ends, **scores, "protocol": "worker", "subset": "all"}
    probe = {"probe": "off-answer pointer, reading", "learner": "booster", "auc": 0.5}
    (note,) = goal_notes([row], [probe])
    assert "0.660 [0.500, 0.500] / AUC 0.690" in note and note.count("not met") == 1
    assert note.count(": met") == 2
    assert goal_notes([], []) == []
