"""The evidence head in training: fitted first, left fixed, and what is learned may only help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")

from ifllm_hf.behavior.features.table import behavior_features  # noqa: E402
from ifllm_hf.errors import ConfigError  # noqa: E402
from ifllm_hf.metrics.core import score_interval  # noqa: E402
from ifllm_hf.metrics.ridge import sigmoid  # noqa: E402
from ifllm_hf.reward.baselines.late_reading import LateReading, Signals  # noqa: E402
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling  # noqa: E402
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor  # noqa: E402
from ifllm_hf.reward.training import run as reward_run  # noqa: E402
from ifllm_hf.reward.training import trainer as tr  # noqa: E402
from ifllm_hf.reward.training.config import RewardDataConfig  # noqa: E402
from tests.helpers.reward.turns import data_of, inputs_of, make_folder, make_turns, settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def test_alone_it_is_fitted_in_closed_form_and_saved(backbone: Any, tmp_path: Path) -> None:
    """As the hand-made model is fitted on the features of the same turns."""
    rows = make_turns(workers=10, each=6, behavior=0.8)
    data = RewardDataConfig(dataset=make_folder(rows, tmp_path / "data"), eval_fold=0)
    out = reward_run.run_reward(backbone, inputs_of("evidence"), settings(tmp_path / "out"), data)
    frame = pl.DataFrame(rows)
    frame = frame.join(behavior_features(frame).drop("contaminated"), on="query_id")
    learned, tested = frame.filter(pl.col("fold") != 0), frame.filter(pl.col("fold") == 0)
    y = (learned["preference"] == "b").to_numpy().astype(float)
    by_hand = LateReading().fit(learned, y, learned["user_id"].to_numpy())

    model, processor = (
        kind.from_pretrained(out) for kind in (IFLLMForRewardModeling, IFLLMProcessor)
    )
    turns = reward_run.load_reward_data(data)
    gap = reward_run.score_pairs(model, processor, turns, tested["query_id"].to_list())
    np.testing.assert_allclose(gap, by_hand.logits(Signals.of_rows(tested)), atol=1e-4)
    record = json.loads((out / "run.json").read_text())
    assert record["result"]["steps"] == 0 and record["result"]["held_out"]["n"] == 12
    assert model.score is None
    assert (out / "model.safetensors").stat().st_size < 4000
    for_ratings = RewardDataConfig(dataset=data.dataset, targets="pointwise")
    with pytest.raises(ConfigError, match="evidence is fitted on preferences alone"):
        reward_run.run_reward(
            backbone, inputs_of("evidence"), settings(tmp_path / "x"), for_ratings
        )
    assert not (tmp_path / "x").exists()
    with pytest.raises(ConfigError, match="leave evidence_head on"):
        inputs_of("evidence", evidence_head=False)


def held_out(
    backbone: Any, rows: list[dict[str, Any]], folder: Path, inputs: Any, **training: Any
) -> Any:
    """Train on readers of folds 1 to 4; return the trainer and P(b) of the pairs of fold 0."""
    data = data_of(rows)
    test = [q for q, row in data.rows.items() if row["fold"] == 0]
    trainer, processor = reward_run.fit_reward_model(
        backbone,
        inputs,
        settings(folder, **training),
        data,
        [q for q in data.rows if q not in set(test)],
    )
    return trainer, sigmoid(reward_run.score_pairs(trainer.model, processor, data, test))


def test_a_strong_text_is_learnt_on_top(backbone: Any, tmp_path: Path) -> None:
    """Although the way out of the text starts at zero."""
    rows = make_turns(workers=30, behavior=0.7, text=0.95)
    tested = [row for row in rows if row["fold"] == 0]
    y = np.array([row["preference"] == "b" for row in tested], dtype=float)
    readers = np.array([row["user_id"] for row in tested])
    _, alone = held_out(backbone, rows, tmp_path / "alone", inputs_of("evidence"))
    trainer, both = held_out(backbone, rows, tmp_path / "both", inputs_of("text"))
    gain = score_interval("accuracy", y, both, readers, versus=alone)
    assert gain.low > 0
    assert tr.best_epoch(trainer) >= 1


def test_the_start_is_kept_where_no_epoch_was_better(backbone: Any, tmp_path: Path) -> None:
    """Steps so large that every epoch is worse than none."""
    rows = make_turns(workers=10, each=6, behavior=0.85, text=0.5)
    _, alone = held_out(backbone, rows, tmp_path / "alone", inputs_of("evidence"))
    rate = {"behavior_learning_rate": 10.0, "num_train_epochs": 2}
    trainer, both = held_out(backbone, rows, tmp_path / "both", inputs_of("text"), **rate)
    assert tr.best_epoch(trainer) == 0
    assert not trainer.model.score.weight.any()
    np.testing.assert_allclose(both, alone, atol=1e-6)
