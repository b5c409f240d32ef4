"""The two small rewards of the demo: what behaviour adds, and who saw whom."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError, OutputError
from ifllm_hf.reward.baselines.by_fold import RewardByFold, fit_by_fold, fit_prepared
from ifllm_hf.reward.baselines.late_reading import COLUMNS
from ifllm_hf.reward.baselines.text_models import TfidfLR


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """200 pairs whose end of reading tells the preference in 9 of 10 cases; words tell nothing."""
    rng = np.random.default_rng(5)
    n = 200
    y = rng.random(n) < 0.5
    agrees = rng.random(n) < 0.9
    words = np.array(["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"])
    texts = [[" ".join(rng.choice(words, 12)) for _ in range(n)] for _ in range(2)]
    late = np.where(y == agrees, 1.5, -1.5) + rng.normal(0, 0.3, n)
    return pl.DataFrame(
        {
            "query_id": np.arange(n),
            "user_id": [f"u{i % 20}" for i in range(n)],
            "fold": (np.arange(n) % 20 % 5).astype(np.int8),
            "preference": np.where(y, "b", "a"),
            "turn": np.arange(n) % 3 + 1,
            "prompt": ["why " * (1 + i % 4) for i in range(n)],
            "reading_ms": rng.uniform(2e3, 9e4, n),
            "response_a": texts[0],
            "response_b": texts[1],
            **{f"{c}_log_ratio{end}": late for c in COLUMNS for end in ("", "_vs_own")},
        }
    )


@pytest.fixture(scope="module")
def reward(rows: pl.DataFrame) -> RewardByFold:
    return fit_by_fold(rows, source="synthetic")


def accuracy(rows: pl.DataFrame, score: object) -> float:
    right = 0.0
    for k in range(5):
        part = rows.filter(pl.col("fold") == k)
        p = score(part, k)  # type: ignore[operator]
        right += ((p > 0.5) == (part["preference"] == "b").to_numpy()).sum()
    return right / rows.height


def test_behaviour_tells_what_words_do_not(rows: pl.DataFrame, reward: RewardByFold) -> None:
    assert accuracy(rows, reward.from_reading) >= 0.85
    assert 0.35 < accuracy(rows, reward.from_text) < 0.65


def test_models_of_a_fold_never_saw_its_readers(rows: pl.DataFrame, reward: RewardByFold) -> None:
    turned = rows.with_columns(
        preference=pl.when(pl.col("fold") == 2)
        .then(pl.when(pl.col("preference") == "a").then(pl.lit("b")).otherwise(pl.lit("a")))
        .otherwise("preference"),
        response_b=pl.when(pl.col("fold") == 2).then(pl.lit("other")).otherwise("response_b"),
    )
    other = fit_by_fold(turned, source="synthetic")
    for score in ("from_text", "from_reading"):
        same = getattr(reward, score)(rows, 2), getattr(other, score)(rows, 2)
        np.testing.assert_array_equal(*same)
        changed = getattr(reward, score)(rows, 1), getattr(other, score)(rows, 1)
        assert np.abs(changed[0] - changed[1]).max() > 1e-3


def test_swapping_the_answers_turns_the_chance(rows: pl.DataFrame, reward: RewardByFold) -> None:
    late = [name for name in rows.columns if "_log_ratio" in name]
    swapped = rows.with_columns(
        pl.col("response_b").alias("response_a"),
        pl.col("response_a").alias("response_b"),
        *[(-pl.col(name)).alias(name) for name in late],
    )
    for fold in (0, None):
        p = reward.from_reading(rows, fold)
        np.testing.assert_allclose(reward.from_reading(swapped, fold), 1 - p, atol=1e-9)
        p = reward.from_text(rows, fold)
        np.testing.assert_allclose(reward.from_text(swapped, fold), 1 - p, atol=1e-9)


def test_for_nobody_all_models_speak(rows: pl.DataFrame, reward: RewardByFold) -> None:
    each = np.stack([reward.from_text(rows, k) for k in range(5)])
    logit = np.log(each / (1 - each)).mean(axis=0)
    np.testing.assert_allclose(reward.from_text(rows, None), 1 / (1 + np.exp(-logit)))


def test_saved_and_loaded_it_says_the_same(
    rows: pl.DataFrame, reward: RewardByFold, tmp_path: Path
) -> None:
    reward.save(tmp_path / "model")
    again = RewardByFold.load(tmp_path / "model")
    assert again.trained_on == reward.trained_on
    assert (again.trained_on.pairs, again.trained_on.readers) == (200, 20)
    for fold in (3, None):
        np.testing.assert_array_equal(
            again.from_reading(rows, fold), reward.from_reading(rows, fold)
        )


def test_a_folder_of_an_older_version_still_scores(
    rows: pl.DataFrame, reward: RewardByFold, tmp_path: Path
) -> None:
    """It holds words with behaviour, under another name."""
    reward.save(tmp_path / "model")
    y = (rows["preference"] == "b").to_numpy().astype(float)
    older = TfidfLR("older", [f"{COLUMNS[0]}_log_ratio"]).fit(rows, y, rows["user_id"].to_numpy())
    for k in range(5):
        (tmp_path / "model" / f"late_reading-{k}.skops").unlink()
        older.save(tmp_path / "model" / f"text_and_behavior-{k}.skops")
    again = RewardByFold.load(tmp_path / "model")
    np.testing.assert_allclose(again.from_reading(rows, 0), older.predict_proba(rows))


def test_what_cannot_be_saved_whole_leaves_nothing(
    reward: RewardByFold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(reward.late_reading[-1].__class__, "save", no_room)
        with pytest.raises(OutputError, match="space"):
            reward.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match="exists"):
        reward.save(tmp_path / "model")


def test_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"reward.json: cannot be read"):
        RewardByFold.load(tmp_path)
    (tmp_path / "reward.json").write_text('{"pairs": 1}')
    with pytest.raises(DataError, match=r"reward.json: cannot be read"):
        RewardByFold.load(tmp_path)


def test_too_few_labels_are_refused(rows: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="fold 0 .*sides"):
        fit_by_fold(rows.filter(pl.col("preference") == "a"), source="synthetic")


def test_prepared_folder_is_enough(prepared_synthetic: Path) -> None:
    reward = fit_prepared(prepared_synthetic)
    assert reward.trained_on.made_up
    features = behavior_features(read_turns(prepared_synthetic))
    pairs = pl.read_parquet(config_files(prepared_synthetic, "pairwise"))
    labelled = pairs.filter(pl.col("preference").is_in(["a", "b"]))
    assert reward.trained_on.pairs == labelled.height
    assert reward.trained_on.readers == labelled["user_id"].n_unique()
    p = reward.from_reading(labelled.join(features.drop("contaminated"), on="query_id"), None)
    assert np.isfinite(p).all() and ((p > 0) & (p < 1)).all()
