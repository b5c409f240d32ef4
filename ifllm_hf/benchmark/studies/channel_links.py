"""What gaze and mouse each go with: ratings, extreme ratings, understanding gained.

Two views of the same question. *One habit at a time*: the correlation of ranks within readers, the
length of the answer taken out, with an interval over readers. *A whole channel*: a ridge model of
the channel's habits, held out by reader, and the paired difference between the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import CHANNELS
from ifllm_hf.benchmark.protocol.rows import groups_of, swap_sides
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.splits import Split, make_splits
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import feature_matrix

_HABITS = (
    "dwell_ms_per_char",
    "coverage",
    "depth",
    "speed_chars_per_s",
    "regression_share",
    "reread_share",
    "pause_share",
    "fixation_ms_mean",
    "visits",
    "last_third_share",
)
_SMALLEST = 50


@dataclass(frozen=True)
class Outcome:
    """Something that behaviour may go with.

    Attributes:
        name: As it stands in tables.
        rows: One per answer, or one per conversation, with `_a` columns of habits.
        y: The outcome of every row.
    """

    name: str
    rows: pl.DataFrame
    y: FloatArray


def outcomes(turns: pl.DataFrame) -> list[Outcome]:
    """Return the outcomes that the data have.

    * rating: Likert 1 to 5 of every rated answer, of both kinds of turn;
    * extreme rating: whether it is 1 or 5;
    * understanding gained: the reader's own rating after less before, one row per conversation,
      habits averaged over its answers.

    Args:
        turns: One row per turn of both kinds with the columns of `behavior_features` joined.
    """
    answers = _answers(turns)
    rated = answers.filter(pl.col("likert_a").is_not_null())
    rating = rated["likert_a"].to_numpy().astype(np.float64)
    grown = _conversations(answers)
    gain = (grown["understand_after"] - grown["understand_before"]).to_numpy().astype(np.float64)
    found = (
        Outcome("rating", rated, rating),
        Outcome("extreme rating", rated, np.isin(rating, (1, 5)).astype(np.float64)),
        Outcome("understanding gained", grown, gain),
    )
    return [o for o in found if _is_large_enough(o)]


def _is_large_enough(outcome: Outcome) -> bool:
    users = groups_of(outcome.rows)
    several = _several(users)
    readers = len(np.unique(users[several]))
    return bool(several.sum() >= _SMALLEST and readers >= 5 and np.ptp(outcome.y) > 0)


def _answers(turns: pl.DataFrame) -> pl.DataFrame:
    """Return one row per answer with the habits on it as `_a` columns."""
    columns = [c for c in _columns() if c in turns.columns]
    keys = ["query_id", "conversation_id", "user_id", "response_a", "likert_a"]
    felt = ["understand_before", "understand_after"]
    left = turns.select(*keys, *felt, *columns).with_columns(side=pl.lit(0))
    both = turns.filter(pl.col("kind") == "pairwise")
    right = swap_sides(both).select(*keys, *felt, *columns).with_columns(side=pl.lit(1))
    answers = pl.concat([left, right]).with_columns(
        query_id=pl.col("query_id") * 2 + pl.col("side"), response_b=pl.lit(None, pl.String)
    )
    seen = pl.any_horizontal(pl.col(c).is_not_nan() & pl.col(c).is_not_null() for c in columns)
    return answers.filter(seen).sort("query_id")


def _conversations(answers: pl.DataFrame) -> pl.DataFrame:
    columns = [c for c in _columns() if c in answers.columns]
    felt = ("understand_before", "understand_after")
    return (
        answers.drop_nulls(felt)
        .group_by("conversation_id", maintain_order=True)
        .agg(
            pl.col("query_id", "user_id", "response_b", *felt).first(),
            pl.col("response_a").str.join(),
            *(pl.col(c).fill_nan(None).mean().fill_null(float("nan")) for c in columns),
        )
        .sort("query_id")
    )


def _columns() -> list[str]:
    return [f"{channel}_{habit}_a" for channel in CHANNELS for habit in _HABITS]


def habit_links(outcome: Outcome, *, draws: int = 2000, seed: int = 0) -> list[Record]:
    """Correlate every habit with an outcome, within readers.

    Ranks of habit, outcome and answer length are centred per reader (readers with one row say
    nothing and are left out), length is taken out of both by least squares, and the rest is
    correlated over all rows: a partial rank correlation within readers.

    Args:
        outcome: What to correlate with.
        draws: Bootstrap draws over readers.
        seed: Seed of the draws.

    Returns:
        Per habit `outcome, channel, habit, n, workers, r, low, high`.
    """
    rows, y = outcome.rows, outcome.y
    records = []
    for channel in CHANNELS:
        for habit in _HABITS:
            column = f"{channel}_{habit}_a"
            if column not in rows.columns:
                continue
            value = feature_matrix(rows, [column])[:, 0]
            known = np.isfinite(value)
            users = groups_of(rows)[known]
            chars = rows["response_a"].str.len_chars().to_numpy()[known].astype(np.float64)
            several = _several(users)
            if several.sum() < _SMALLEST:
                continue
            _, index = np.unique(users[several], return_inverse=True)
            centred = [_centred(_ranks(v[several]), index) for v in (value[known], y[known], chars)]
            x, z = (_without(v, centred[2]) for v in centred[:2])
            about = {"outcome": outcome.name, "channel": channel, "habit": habit}
            counts = {"n": int(several.sum()), "workers": int(index.max()) + 1}
            found = _interval(_correlations(x, z, index, draws, seed))
            records.append({**about, **counts, **found})
    return records


def _several(users: np.ndarray) -> np.ndarray:
    _, index, count = np.unique(users, return_inverse=True, return_counts=True)
    return np.asarray(count[index] > 1)


def _ranks(values: FloatArray) -> FloatArray:
    return pl.Series(values).rank("average").to_numpy()


def _centred(values: FloatArray, index: np.ndarray) -> FloatArray:
    mean = np.bincount(index, values) / np.bincount(index)
    return np.asarray(values - mean[index], dtype=np.float64)


def _without(values: FloatArray, other: FloatArray) -> FloatArray:
    square = float(other @ other)
    return values - other * (float(values @ other) / square if square > 0 else 0.0)


def _correlations(
    x: FloatArray, z: FloatArray, index: np.ndarray, draws: int, seed: int
) -> FloatArray:
    """Return the correlation of centred columns, then that of every draw of readers."""
    sums = np.stack([np.bincount(index, v) for v in (x * z, x * x, z * z)], axis=1)
    readers = len(sums)
    drawn = np.random.default_rng(seed).multinomial(readers, np.full(readers, 1 / readers), draws)
    total = np.concatenate([sums.sum(axis=0)[None], drawn @ sums])
    scale = np.sqrt(total[:, 1] * total[:, 2])
    out: FloatArray = np.zeros(len(scale))
    np.divide(total[:, 0], scale, out=out, where=scale > 0)
    return out


def _interval(correlations: FloatArray) -> dict[str, float]:
    low, high = np.quantile(correlations[1:], [0.025, 0.975])
    return {"r": float(correlations[0]), "low": float(low), "high": float(high)}


def channel_links(
    outcome: Outcome, *, repeats: int = 5, draws: int = 2000, seed: int = 0
) -> list[Record]:
    """Predict an outcome from each channel, held out by reader, and compare the channels.

    Ridge regression on centred ranks, as in `habit_links`: who rates high, or moves fast, is taken
    out, and what is left is predicted for readers that the model has never seen. The penalty is
    chosen by leave-one-out inside the training readers. This describes readers; it is no reward,
    as a reader's mean is taken over later turns too.

    Args:
        outcome: What to predict.
        repeats: Repeats of the `worker` protocol.
        draws: Bootstrap draws over readers.
        seed: Seed of splits and draws.

    Returns:
        For `length`, `gaze`, `mouse` (each with the length of the answer) and `gaze - mouse` (the
        paired difference): `outcome, channel, n, workers, r, low, high`, where r correlates
        predicted and true ranks. Readers with one row say nothing and are left out.
    """
    users = groups_of(outcome.rows)
    several = _several(users)
    rows, (_, index) = outcome.rows.filter(several), np.unique(users[several], return_inverse=True)
    truth = _centred(_ranks(outcome.y[several]), index)
    splits = make_splits(rows, "worker", repeats=repeats, seed=seed)
    length = rows["response_a"].str.len_chars().cast(pl.Float64)
    found: dict[str, FloatArray] = {}
    for channel in ("length", *CHANNELS):
        columns = [c for c in _columns() if c.startswith(f"{channel}_") and c in rows.columns]
        read = (length, *(rows[c] for c in columns))
        x = np.stack([_known_ranks(values, index) for values in read], axis=1)
        guess = _predicted(x, truth, splits)
        found[channel] = _correlations(_centred(guess, index), truth, index, draws, seed)
    found["gaze - mouse"] = found["gaze"] - found["mouse"]
    about = {"n": len(truth), "workers": int(index.max()) + 1}
    return [
        {"outcome": outcome.name, "channel": channel, **about, **_interval(values)}
        for channel, values in found.items()
    ]


def _known_ranks(values: pl.Series, index: np.ndarray) -> FloatArray:
    """Return ranks less the reader's mean rank; 0, the reader's usual, where nothing is known."""
    raw = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    out, known = np.zeros(len(raw)), np.isfinite(raw)
    if known.any():
        _, readers = np.unique(index[known], return_inverse=True)
        out[known] = _centred(_ranks(raw[known]), readers)
    return out


def _predicted(x: FloatArray, y: FloatArray, splits: Sequence[Split]) -> FloatArray:
    from sklearn.linear_model import RidgeCV

    x = x / np.maximum(np.sqrt((x * x).mean(axis=0)), 1e-9)
    total = np.zeros(len(y))
    for split in splits:
        # Everything is centred, per reader, so there is no intercept to learn.
        model = RidgeCV(np.logspace(1, 6, 16), fit_intercept=False)
        total[split.test] += model.fit(x[split.train], y[split.train]).predict(x[split.test])
    return total
