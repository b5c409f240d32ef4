"""The labels of a cell by the command's own function, and how many of them are right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.alignment.known_truth import cells
from ifllm_hf.alignment.known_truth.cells import TruthCell
from ifllm_hf.alignment.known_truth.made_world import MadeWorld
from ifllm_hf.alignment.labels.signals import label_model
from ifllm_hf.alignment.labels.write import write_labels
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.alignment.pairs.messages import text_of
from ifllm_hf.behavior.features.table import FEATURE_COLUMNS
from ifllm_hf.errors import NothingLabelledError
from ifllm_hf.files import read_parquet, write_parquet

BINS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Lower ends of the bins of confidence; the last one holds 1 as well."""
_COIN_SEED = 0xC01
_SIDES = (("chosen", "rejected"), ("history_chosen", "history_rejected"))


@dataclass(frozen=True)
class RightLabels:
    """How right the labels of the training pairs are.

    *Right* is the answer with the higher true score; *liked* the one that the reader truly prefers,
    which is what a confidence speaks of.

    Attributes:
        pairs: Pairs that are trained on; 0: labels say nothing, and nothing is trained.
        held_out: Pairs of the readers who are held out.
        confidence: Mean confidence of the pairs that are trained on.
        liked: How many of them name the answer that is liked.
        decided: How many have answers of different true scores.
        right: How many of these name the better one.
        dropped: Turns without a label, by reason.
        bins: By origin and bin of confidence: `origin, low, pairs, confidence` (their sum), `liked,
            decided, right`.
    """

    pairs: int
    held_out: int
    confidence: float
    liked: int
    decided: int
    right: int
    dropped: dict[str, int]
    bins: list[dict[str, Any]]


def label_cell(cell: TruthCell, world: MadeWorld, out: Path, *, nu: float) -> RightLabels:
    """Write the labels of a cell and hold them to the truth.

    Args:
        cell: Which labels.
        world: Its turns.
        out: The label file.
        nu: Rate of wrong clicks that `both` and `all` assume.

    Raises:
        DataError: Too few readers or clicks.
    """
    turns = world.turns
    if cell.source == cells.ORACLE:
        turns = _clicked_by_the_truth(world)
    if cell.damage == cells.PERMUTED:
        turns = behavior_of_others(turns, cell.seed)
    source, inputs = cells.SOURCES[cell.source]
    try:
        report = write_labels(
            turns,
            out,
            source=source,
            model=None if inputs is None else label_model(inputs),
            nu=nu,
            seed=cell.seed,
            judge_fold=None if inputs is None else JUDGE_FOLD,
            overwrite=True,  # of a run that was interrupted
            progress=False,
        )
    except NothingLabelledError:
        return RightLabels(0, 0, 0.0, 0, 0, 0, {"all": turns.height}, [])
    pairs = read_parquet(out)
    if cell.damage in (cells.SWAPPED, cells.COIN):
        drawn = np.random.default_rng([_COIN_SEED, cell.seed]).random(pairs.height)
        pairs = exchange(pairs, drawn < (1 if cell.damage == cells.SWAPPED else 0.5))
        write_parquet(out, pairs)
    return right_labels(pairs, world, report.ledger.dropped)


def right_labels(
    pairs: pl.DataFrame, world: MadeWorld, dropped: dict[str, int] | None = None
) -> RightLabels:
    """Compare the labels of all readers but those held out with the truth."""
    answers = world.turns.select("query_id", "response_a", "response_b")
    rows = pairs.filter(pl.col("fold") != JUDGE_FOLD).join(answers, "query_id")
    rows = rows.join(world.truth, "query_id")
    chose_a = [
        text_of(chosen) == a for chosen, a in rows.select("chosen", "response_a").iter_rows()
    ]
    a_less_b = pl.col("true_a") - pl.col("true_b")
    rows = rows.with_columns(pl.Series("chose_a", chose_a, dtype=pl.Boolean)).with_columns(
        gain=pl.when("chose_a").then(a_less_b).otherwise(-a_less_b),
        liked=(pl.col("liked") == "a") == pl.col("chose_a"),
    )
    confidence = rows["confidence"].cast(pl.Float64)
    # Not quite .7 is .7: confidences are kept as float32.
    low = np.array(BINS)[np.searchsorted(BINS, confidence.to_numpy() + 1e-6, side="right") - 1]
    counts = (
        pl.len().alias("pairs"),
        pl.col("confidence").cast(pl.Float64).sum().round(6),
        pl.col("liked").sum(),
        (pl.col("gain") != 0).sum().alias("decided"),
        (pl.col("gain") > 0).sum().alias("right"),
    )
    bins = rows.with_columns(low=pl.Series(low)).group_by("origin", "low").agg(*counts)
    whole = rows.select(*counts).row(0, named=True)
    return RightLabels(
        pairs=whole["pairs"],
        held_out=pairs.height - whole["pairs"],
        confidence=round(whole["confidence"] / max(whole["pairs"], 1), 6),
        liked=whole["liked"],
        decided=whole["decided"],
        right=whole["right"],
        dropped=dict(dropped or {}),
        bins=bins.sort("origin", "low").to_dicts(),
    )


def exchange(pairs: pl.DataFrame, which: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """Return the pairs with chosen and rejected exchanged in some of them."""
    asked = pl.Series("which", which)
    return pairs.with_columns(
        pl.when(asked).then(pl.col(other)).otherwise(pl.col(one)).alias(one)
        for pair in _SIDES
        for one, other in (pair, pair[::-1])
    )


def behavior_of_others(turns: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Return the turns with the behaviour of another reader in each, drawn at random.

    No reader may have more than half of the turns.
    """
    behavior = [name for name in FEATURE_COLUMNS if name in turns.columns]
    drawn = np.random.default_rng(seed).random(turns.height)
    ordered = turns.with_columns(drawn=pl.Series(drawn)).sort("user_id", "drawn").drop("drawn")
    half = -(-ordered.height // 2)
    moved = pl.concat([ordered[half:], ordered[:half]]).select(behavior)
    return ordered.drop(behavior).hstack(moved)


def _clicked_by_the_truth(world: MadeWorld) -> pl.DataFrame:
    better = (
        pl.when(pl.col("true_a") > pl.col("true_b"))
        .then(pl.lit("a"))
        .when(pl.col("true_a") < pl.col("true_b"))
        .then(pl.lit("b"))
        .otherwise(pl.lit("tie"))
    )
    better_side = world.truth.select("query_id", preference=better)
    return world.turns.drop("preference").join(better_side, "query_id")
