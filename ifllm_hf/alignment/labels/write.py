"""From clicks and behaviour to preference pairs with a confidence: what `ifllm label` writes.

    explicit   the click, confidence 1: the `preferences` config with a few columns more
    reward     what behaviour says, without the click; pairs that nobody rated are labelled too
    both       the click, weighed against what behaviour says; needs a click
    all        `both` where there is a click, behaviour elsewhere: every pair is labelled

The model that labels a worker's pairs never saw that worker (`calibration`). The arithmetic of
wrong clicks is in `noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.calibration import OutOfFold, Swap, out_of_fold
from ifllm_hf.alignment.labels.from_predictions import probabilities_from
from ifllm_hf.alignment.labels.label_file import (
    BEHAVIOR,
    CLICK,
    CLICK_AND_BEHAVIOR,
    LABELS,
    check_place,
    write_label_file,
)
from ifllm_hf.alignment.labels.noise import (
    DEFAULT_NU,
    UNSURE,
    check_nu,
    combine,
    confidence_of,
    flipped,
    likert_contradictions,
    nu_table,
    unnoise,
)
from ifllm_hf.alignment.labels.report import LabelReport, behavior_scores, origins
from ifllm_hf.behavior.features.table import (
    ANTISYMMETRIC_COLUMNS,
    FEATURE_COLUMNS,
    behavior_features,
    read_turns,
    refuse_doubled,
)
from ifllm_hf.benchmark.protocol.rows import swap_sides, tick_columns
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import SCHEMAS, TURNS
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.errors import ConfigError, DataError, NothingLabelledError, require_one_of
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.protocol import Model, config_hash

EXPLICIT, REWARD, BOTH, ALL = "explicit", "reward", "both", "all"
SOURCES = (EXPLICIT, REWARD, BOTH, ALL)
_OF_THE_TRUTH = (BOTH, ALL)  # sources whose confidence is that of the truth behind a click
_EVIDENCE = ("label_model", "label_fold", "p_b_behavior", "p_b", "nu", "origin")
# What a pair needs of its turn: columns that it keeps, and what decides on it.
_NEEDED = (
    *(name for name in SCHEMAS["preferences"].names if name in TURNS.names),
    *("kind", "preference", "has_error_answer"),
    *("response_a", "response_b", "history_a", "history_b"),
)


def write_labels(
    turns: pl.DataFrame,
    out: Path | str,
    *,
    source: str,
    model: Callable[[], Model] | None = None,
    predictions: Path | str | None = None,
    nu: float = DEFAULT_NU,
    seed: int = 0,
    folds: int = 5,
    inner_folds: int = 5,
    judge_fold: int | None = None,
    swap: Swap | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> LabelReport:
    """Write preference pairs in TRL's format, one file, whole or not at all.

    With q = calibrated P(click = b | behaviour), out of fold, the probability of b is

    * `explicit`: 1 or 0, as clicked.
    * `reward`: q. So `confidence` is the probability that a click would name the chosen answer. A
      pair with q = 1/2 exactly is left out (`undecided`).
    * `both`: un-noise, then add the click: P(y = b | behaviour) = clip((q - nu) / (1 - 2 nu), .01,
      .99); posterior odds of the clicked side = (1 - nu) / nu times its odds by behaviour. A click
      that behaviour contradicts loses confidence, and below 1/2 the other answer is chosen.
    * `all`: as `both` where a side was clicked; elsewhere P(y = b | behaviour), and 1/2 exactly is
      left out. The column `origin` says which of the two a pair is.

    `both` and `all` assume that the error of a click is independent of behaviour given the
    preference (`noise.ASSUMPTION`); the report says what other values of nu would change.

    Args:
        turns: The `turns` table (or the `pairwise` config), with the features that the model needs
            joined by `query_id`. Raw ticks are ignored.
        out: File to write, `.parquet` or `.jsonl`.
        source: `explicit`, `reward`, `both` or `all`.
        model: Makes the model that predicts clicks; default:
            `ifllm_hf.reward.baselines.choice.default_model`. Not used by `explicit`.
        predictions: Instead of a model: a file of predictions held out by reader, as `ifllm
            benchmark --predictions` takes it; see `from_predictions`.
        nu: Rate of wrong clicks, in [0, 0.5); used by `both` and `all`.
        seed: Of the folds.
        folds: Out-of-fold models.
        inner_folds: Folds of the calibration inside each training part.
        judge_fold: The value of the column `fold` on whose workers the trained language model will
            be judged: their clicks train no labelling model. Without it every worker's clicks shape
            the labels of the others.
        swap: Exchanges left and right; default: columns ending in `_a` and `_b` change places, and
            the antisymmetric features of `ifllm_hf.behavior.features.table` change sign.
        overwrite: Replace a file that is there.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        What was written and what it rests on.

    Raises:
        ConfigError: An unknown source or suffix, a nu out of range, or no model.
        OutputError: The place is taken or cannot be written.
        DataError: A column is missing, an id is doubled, or there are too few workers or clicks.
        NothingLabelledError: No pair is left.
    """
    out = Path(out)
    require_one_of("source", source, SOURCES)
    check_nu(nu)
    check_place(out, overwrite)
    _check_turns(turns)
    turns = turns.drop(tick_columns(turns))
    of_folds: Any = {"folds": folds, "inner_folds": inner_folds, "judge_fold": judge_fold}
    told: OutOfFold | None = None
    name = None
    evidence = pl.DataFrame(LABELS.empty_table()).select("query_id", *_EVIDENCE)
    scores, known = None, 0
    if source == EXPLICIT:
        decided = turns
    else:
        rows = _eligible(turns, source)
        y = _clicks(rows)
        if predictions is not None:
            told, name = probabilities_from(predictions, turns, rows, y, judge_fold=judge_fold)
        else:
            made = _default_model() if model is None else model()
            name = f"{made.name} {config_hash(made)}"
            swap = swap or _swap(rows)
            told = out_of_fold(made, rows, y, swap=swap, seed=seed, progress=progress, **of_folds)
        p_b = _decided_on(told.p_b, y, source, nu)
        evidence = rows.select(
            "query_id",
            pl.lit(name).alias("label_model"),
            pl.Series("label_fold", told.label_fold),
            pl.Series("p_b_behavior", told.p_b),
            pl.Series("p_b", p_b),
            pl.lit(nu if source in _OF_THE_TRUTH else None, dtype=pl.Float64).alias("nu"),
            _origin(y, source),
        )
        decided = _decide(turns, rows, p_b, y, source)
        fresh = np.full(len(y), True) if told.held_out is None else told.held_out
        known = int((~fresh).sum())
        scores = behavior_scores(np.where(fresh, y, np.nan), told.p_b, rows["user_id"], seed=seed)
    pairs, ledger = build_preferences(decided)
    if source in (REWARD, ALL) and "tie" in ledger.dropped:
        ledger.dropped["undecided"] = ledger.dropped.pop("tie")
    if not pairs.height:
        raise NothingLabelledError(
            f"0 of {ledger.seen} turns can be labelled by '{source}' (dropped: {ledger.dropped}); "
            "expected pairwise turns with a preference. Check the data, or choose another source"
        )
    table = _finish(pairs, turns, evidence, source)
    confidence = table["confidence"].to_numpy().astype(np.float64)
    report = LabelReport(
        path=out.name,
        source=source,
        pairs=table.height,
        workers=table["user_id"].n_unique(),
        ledger=ledger,
        mean_confidence=float(confidence.mean()),
        unsure=float((confidence < UNSURE).mean()),
        against_click=_against_click(table),
        origins=origins(table),
        label_model=name,
        nu=nu if source in _OF_THE_TRUTH else None,
        nu_table=_other_rates(table) if source in _OF_THE_TRUTH else [],
        likert=likert_contradictions(turns),
        slopes={} if told is None else told.slopes,
        trained_on={} if told is None else told.trained,
        behavior=scores,
        known=known,
        without_behavior=_without_behavior(turns, table) if told is not None else None,
        settings={"seed": seed, **of_folds},
    )
    write_label_file(table, out, report)
    return report


def read_turns_with_features(folder: Path | str) -> pl.DataFrame:
    """Read the turns of a prepared folder and compute our features of them.

    Args:
        folder: A folder written by `ifllm prepare`.

    Returns:
        The `turns` table of both kinds with the features joined by `query_id`.

    Raises:
        TableError: It is not a prepared folder.
    """
    files = [*config_files(folder, "pairwise"), *config_files(folder, "pointwise")]
    turns = read_parquet(files, TURNS.names)
    return turns.join(behavior_features(read_turns(folder)), on="query_id", how="left")


def _default_model() -> Model:
    try:
        from ifllm_hf.reward.baselines.choice import default_model

        return default_model()
    except ImportError as error:
        raise ConfigError(
            "the default model of ifllm_hf.reward.baselines.choice cannot be loaded "
            f"({error}). Install ifllm-hf[learn], or pass another model"
        ) from error


def _check_turns(turns: pl.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in turns.columns]
    if missing:
        raise DataError(
            f"the turns have no column {', '.join(missing)}; expected the columns of the `turns` "
            "table, with features joined by query_id"
        )
    refuse_doubled(turns["query_id"])
    known = turns["preference"].is_null() | turns["preference"].is_in(["a", "b", "tie"])
    if not known.all():
        row = turns.filter(~known).row(0, named=True)
        raise DataError(
            f"query {row['query_id']} has the preference {row['preference']!r}; expected 'a', 'b', "
            "'tie' or nothing"
        )


def _eligible(turns: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return the turns that can become a pair of this source, in order of query id."""
    asked = turns if source == BOTH else turns.with_columns(preference=pl.lit("a"))
    ids = build_preferences(asked)[0]["query_id"]
    rows = turns.filter(pl.col("query_id").is_in(ids.implode())).sort("query_id")
    if not rows.height:
        raise DataError(
            f"none of {turns.height} turns is a pair with two different answers"
            f"{' and a click' if source == BOTH else ''}; there is nothing to label. Check the data"
        )
    return rows


def _clicks(rows: pl.DataFrame) -> FloatArray:
    """Return 1 where b was clicked, 0 where a was, NaN elsewhere."""
    clicked = rows["preference"].replace_strict(
        {"a": 0.0, "b": 1.0}, default=None, return_dtype=pl.Float64
    )
    return clicked.fill_null(float("nan")).to_numpy()


def _decided_on(q: FloatArray, y: FloatArray, source: str, nu: float) -> FloatArray:
    """Return the probability of b that a source decides on, shape (n,)."""
    if source == REWARD:
        return q
    return np.where(np.isfinite(y), combine(q, y == 1, nu), unnoise(q, nu))


def _origin(y: FloatArray, source: str) -> pl.Series:
    """Return what each label is made from, shape (n,)."""
    by_click = np.isfinite(y) & (source != REWARD)
    found = np.where(by_click, CLICK_AND_BEHAVIOR, BEHAVIOR)
    return pl.Series("origin", found.astype(object), dtype=pl.String)


def _other_rates(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the table of other rates of wrong clicks, of the pairs with a click."""
    clicked = table.filter(pl.col("origin") == CLICK_AND_BEHAVIOR)
    return nu_table(clicked["p_b_behavior"].to_numpy(), clicked["explicit_preference"] == "b")


def _swap(rows: pl.DataFrame) -> Swap:
    signs = [name for name in ANTISYMMETRIC_COLUMNS if name in rows.columns]
    return partial(swap_sides, antisymmetric=signs)


def _decide(
    turns: pl.DataFrame, rows: pl.DataFrame, p_b: FloatArray, y: FloatArray, source: str
) -> pl.DataFrame:
    """Return the turns with the side that was decided on as their preference.

    `build_preferences` then makes the pairs and counts what it leaves out: one piece of code
    decides what `chosen` means, for clicks and for labels.
    """
    side = np.where(p_b > 0.5, "b", np.where(p_b < 0.5, "a", "tie"))
    if source in _OF_THE_TRUTH:  # even odds leave a click as it is
        b_wins = np.where(flipped(p_b, y == 1), y == 0, y == 1)
        side = np.where(np.isfinite(y), np.where(b_wins, "b", "a"), side)
    sides = rows.select("query_id", pl.Series("decided", side.astype(object), dtype=pl.String))
    # What is not eligible is left out for another reason than its click, which need not be there.
    otherwise = pl.lit("a") if source in (REWARD, ALL) else pl.col("preference")
    return turns.join(sides, on="query_id", how="left", maintain_order="left").with_columns(
        preference=pl.coalesce("decided", otherwise)
    )


def _finish(
    pairs: pl.DataFrame, turns: pl.DataFrame, evidence: pl.DataFrame, source: str
) -> pl.DataFrame:
    """Put confidence and evidence beside the pairs: the columns of `LABELS`."""
    clicks = turns.select("query_id", pl.col("preference").alias("explicit_preference"))
    table = pairs.join(clicks, on="query_id", how="left", maintain_order="left").join(
        evidence, on="query_id", how="left", maintain_order="left"
    )
    if source == EXPLICIT:
        on_b = (pl.col("explicit_preference") == "b").cast(pl.Float64)
        table = table.with_columns(p_b=on_b, origin=pl.lit(CLICK))
    confidence = confidence_of(table["p_b"].to_numpy())
    return table.with_columns(
        pl.Series("confidence", confidence, dtype=pl.Float32), pl.lit(source).alias("source")
    ).select(LABELS.names)


def _against_click(table: pl.DataFrame) -> dict[str, int]:
    """Count the pairs with a click on a side, and those whose chosen side is the other one."""
    clicked = table.filter(pl.col("explicit_preference").is_in(["a", "b"]))
    p_b, on_b = clicked["p_b"].to_numpy(), (clicked["explicit_preference"] == "b").to_numpy()
    return {"n": clicked.height, "against": int(flipped(p_b, on_b).sum())}


def _without_behavior(turns: pl.DataFrame, table: pl.DataFrame) -> int | None:
    """Count the pairs of which every behaviour feature is missing; None without such columns."""
    there = [c for c in FEATURE_COLUMNS if c in turns.columns]
    if not there:
        return None
    of_pairs = turns.filter(pl.col("query_id").is_in(table["query_id"].implode()))
    known = [pl.col(c).is_not_null() & pl.col(c).is_not_nan() for c in there]
    return of_pairs.filter(~pl.any_horizontal(known)).height
