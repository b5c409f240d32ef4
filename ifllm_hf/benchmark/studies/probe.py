"""Did the pointer see the click? Probes for labels that leak through where the mouse was.

The rating stood below the answers, so the pointer off the answers tells the label once the reader
moves to click it. A probe learns from nothing but a histogram of pointer positions: within the
reading phase it must stay at chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.rows import labelled, tick_columns
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.scores import Record, Scored, by_repeat, score
from ifllm_hf.errors import DataError, require_one_of
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.protocol import PREFERENCE, Weight

# Columns and rows of the screen grid. The two radio buttons of the release stood a sixth of the
# window apart, so a cell is narrower than that.
GRID_X, GRID_Y = 12, 8
_CHAR_BINS = 10
PREFIX = "probe_"


@dataclass(frozen=True)
class Probe:
    """What a probe looks at.

    Attributes:
        name: Name in the report.
        where: `off` (pointer on no answer), `on` (pointer on an answer) or `text` (which tenth of
            which answer the channel is on: all that a fair model can see).
        phase: `reading`, or None for the whole turn.
        channel: `mouse` or `gaze`.
        contaminated: Whether it is expected to see the click.
    """

    name: str
    where: str
    phase: str | None
    channel: str = "mouse"
    contaminated: bool = False


PROBES = (
    Probe("off-answer pointer, whole turn", "off", None, contaminated=True),
    Probe("off-answer pointer, reading", "off", "reading"),
    Probe("on-answer pointer, reading", "on", "reading"),
    Probe("position in the text (mouse), reading", "text", "reading"),
    Probe("position in the text (gaze), reading", "text", "reading", "gaze"),
)


def pointer_histogram(turns: pl.DataFrame, probe: Probe) -> pl.DataFrame:
    """Return the share of ticks that each turn spends in each cell.

    Screen cells are 12 x 8 over the window, whose size is not recorded: it is taken as the largest
    pointer position of the conversation. A turn without any such tick has NaN in every cell.

    Args:
        turns: One row per turn with the tick columns as lists (the `pairwise` config):
            `{channel}_x_px, {channel}_y_px, {channel}_on, phase`, and `{channel}_char` for `text`.
        probe: What to look at.

    Returns:
        `query_id`, `probe_ticks` (log of 1 + ticks used) and one `probe_...` column per cell.

    Raises:
        ConfigError: An unknown place to look.
        DataError: A column is missing.
    """
    require_one_of("where", probe.where, ("off", "on", "text"))
    c = probe.channel
    x, y, on, char = f"{c}_x_px", f"{c}_y_px", f"{c}_on", f"{c}_char"
    lists, keys = [x, y, on, "phase"], ["query_id", "conversation_id"]
    if probe.where == "text":
        lists, keys = [*lists, char], [*keys, "response_a", "response_b"]
        cell, count = _text_cell(on, char), 2 * _CHAR_BINS
    else:
        cell, count = _screen_cell(x, y), GRID_X * GRID_Y
    missing = [n for n in ("query_id", "conversation_id", *lists) if n not in turns.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; the probe needs the ticks as list "
            "columns, as in the `pairwise` config"
        )
    ticks = turns.select(*keys, *lists).explode(lists)
    ticks = ticks.with_columns(cell.cast(pl.Int64).alias("cell"))
    use = pl.col("cell").is_not_null()
    if probe.phase is not None:
        use &= pl.col("phase") == probe.phase
    if probe.where != "text":
        use &= (pl.col(on) == "none") if probe.where == "off" else (pl.col(on) != "none")
    counted = ticks.filter(use).group_by("query_id", "cell").len()
    return _table(turns["query_id"], counted, count)


def _screen_cell(x: str, y: str) -> pl.Expr:
    def bin_of(name: str, bins: int) -> pl.Expr:
        edge = pl.col(name).max().over("conversation_id").clip(lower_bound=1.0) * 1.0001
        return (pl.col(name) / edge * bins).floor().clip(0, bins - 1)

    return bin_of(y, GRID_Y) * GRID_X + bin_of(x, GRID_X)


def _text_cell(on: str, char: str) -> pl.Expr:
    def tenth(side: str) -> pl.Expr:
        length = pl.col(f"response_{side}").str.len_chars().clip(lower_bound=1)
        return (pl.col(char) * _CHAR_BINS / length).floor().clip(0, _CHAR_BINS - 1)

    left = pl.when(pl.col(on) == "a").then(tenth("a"))
    return left.when(pl.col(on) == "b").then(tenth("b") + _CHAR_BINS)


def _table(ids: pl.Series, counted: pl.DataFrame, count: int) -> pl.DataFrame:
    """Turn (turn, cell, ticks) into one row per turn with a share per cell."""
    order = pl.DataFrame({"query_id": ids}).with_row_index("row")
    placed = counted.join(order, on="query_id")
    grid = np.zeros((len(ids), count))
    grid[placed["row"].to_numpy(), placed["cell"].to_numpy()] = placed["len"].to_numpy()
    ticks = grid.sum(axis=1)
    share = np.full_like(grid, np.nan)
    np.divide(grid, ticks[:, None], out=share, where=ticks[:, None] > 0)
    columns = {f"{PREFIX}{i:02d}": share[:, i] for i in range(count)}
    return pl.DataFrame({"query_id": ids, f"{PREFIX}ticks": np.log1p(ticks), **columns})


@dataclass
class HistogramModel:
    """A booster or logistic regression on the probe's columns alone."""

    kind: str = "booster"
    name: str = "probe"
    antisymmetric: bool = False
    seed: int = 0
    fitted: Any = field(default=None, init=False)

    def config(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {"kind": self.kind, "seed": self.seed, "grid": [GRID_X, GRID_Y, _CHAR_BINS]}

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> HistogramModel:
        """Fit scikit-learn's booster or logistic regression."""
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        require_one_of("kind", self.kind, ("booster", "logistic"))
        if self.kind == "booster":
            self.fitted = HistGradientBoostingClassifier(
                max_iter=60, learning_rate=0.08, max_leaf_nodes=8, random_state=self.seed
            )
            self.fitted.fit(self._matrix(rows), y, sample_weight=weight)
        else:
            self.fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
            self.fitted.fit(self._matrix(rows), y, logisticregression__sample_weight=weight)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b)."""
        return np.asarray(self.fitted.predict_proba(self._matrix(rows))[:, 1], dtype=np.float64)

    def _matrix(self, rows: pl.DataFrame) -> FloatArray:
        values: FloatArray = rows.select(pl.col(f"^{PREFIX}.*$")).to_numpy().astype(np.float64)
        return np.nan_to_num(values) if self.kind == "logistic" else values


def run_probes(
    turns: pl.DataFrame,
    *,
    probes: tuple[Probe, ...] = PROBES,
    kinds: tuple[str, ...] = ("booster", "logistic"),
    repeats: int = 5,
    seed: int = 0,
    draws: int = 2000,
    progress: bool = True,
) -> list[Record]:
    """Return how well each probe tells the preference, held out by worker.

    Args:
        turns: One row per pairwise turn with ticks as list columns.
        probes: What to look at.
        kinds: Which learners.
        repeats: Repeats of the `worker` protocol.
        seed: Seed.
        draws: Bootstrap draws.
        progress: Whether to draw progress bars on stderr.

    Returns:
        One record per probe and learner: `probe, learner, contaminated, turns_without_ticks` and
        the scores with their intervals over workers.
    """
    plain = turns.drop(tick_columns(turns))
    records: list[Record] = []
    for probe in probes:
        histogram = pointer_histogram(turns, probe)
        data = labelled(plain.join(histogram, on="query_id", how="left"), PREFERENCE)
        empty = int((data.rows[f"{PREFIX}ticks"] == 0.0).sum())
        for kind in kinds:
            model = HistogramModel(kind, f"{probe.name} ({kind})", seed=seed)
            predictions = cross_validate(
                model, data, "worker", repeats=repeats, seed=seed, progress=progress
            )
            records.append(
                {
                    "probe": probe.name,
                    "learner": kind,
                    "protocol": "worker",
                    "contaminated": probe.contaminated,
                    "turns_without_ticks": empty,
                    **score(Scored(predictions, data), draws=draws, seed=seed),
                    **by_repeat(predictions, data),
                }
            )
    return records
