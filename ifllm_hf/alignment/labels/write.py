"""From clicks and behaviour to preference pairs with a confidence: what `ifllm label` writes.

    explicit   the click, confidence 1: the `preferences` config with a few columns more
    reward     what behaviour says, without the click; pairs that nobody rated are labelled too
    both       the click, weighed against what behaviour says; needs a click
    all        `both` where there is a click, behaviour elsewhere: every pair is labelled

The model that labels a worker's pairs never saw that worker (`calibration`). The arithmetic of
wrong clicks is in `noise`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from ifllm_hf.alignment.labels.calibration import OutOfFold, Swap, out_of_fold
from ifllm_hf.alignment.labels.from_predictions import probabilities_from
from ifllm_hf.alignment.labels.label_file import (
    BEHAVIOR,
    CLICK,
    CLICK_AND_BEHAVIOR,
    LABELS,
    METADATA_KEY,
    check_place,
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
from ifllm_hf.alignment.labels.turn_facts import (
    BEHAVED,
    UNFIT,
    TurnFacts,
    facts_of_folder,
    facts_of_table,
    reads_of,
)
from ifllm_hf.behavior.features.table import (
    ANTISYMMETRIC_COLUMNS,
    behavior_features,
    read_turns,
    turn_files,
)
from ifllm_hf.benchmark.protocol.rows import swap_sides
from ifllm_hf.data.prepared.shards import conform
from ifllm_hf.data.schema import TURNS
from ifllm_hf.data.tables.preferences import build_preferences, drop_reason, ledger_of
from ifllm_hf.errors import ConfigError, DataError, NothingLabelledError, require_one_of
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.protocol import Model, config_hash
from ifllm_hf.table_parts import write_table

EXPLICIT, REWARD, BOTH, ALL = "explicit", "reward", "both", "all"
SOURCES = (EXPLICIT, REWARD, BOTH, ALL)
_OF_THE_TRUTH = (BOTH, ALL)  # sources whose confidence is that of the truth behind a click
# Of a pair, what is not of its turn.
_BESIDE = (
    *("confidence", "source", "explicit_preference"),
    *("label_model", "label_fold", "p_b_behavior", "p_b", "nu", "origin"),
)


def write_labels(
    turns: pl.DataFrame | TurnFacts | Path | str,
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
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> LabelReport:
    """Write preference pairs in TRL's format, whole or not at all.

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
        turns: A prepared folder, of which one shard is in memory at a time, and of all turns what
            the model looks at. Or the `turns` table (or the `pairwise` config), with the features
            that the model needs joined by `query_id`; raw ticks are ignored. Or what was made of
            either.
        out: File to write, `.parquet` or `.jsonl`; a name without an ending: a folder with a shard
            for each shard of `turns` that has pairs.
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
        workers: Processes that compute the features of a folder, a shard each.
        overwrite: Replace what is there.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        What was written and what it rests on.

    Raises:
        ConfigError: An unknown source or suffix, a nu out of range, or no model.
        OutputError: The place is taken or cannot be written.
        TableError: `turns` is a folder, but not a prepared one.
        DataError: A column is missing, an id is doubled, or there are too few workers or clicks.
        NothingLabelledError: No pair is left.
    """
    out = Path(out)
    require_one_of("source", source, SOURCES)
    check_nu(nu)
    check_place(out, overwrite)
    made = None
    if source != EXPLICIT and predictions is None:
        made = _default_model() if model is None else model()
    of_folds: Any = {"folds": folds, "inner_folds": inner_folds, "judge_fold": judge_fold}
    settings = {"workers": workers, "progress": progress}
    with _opened(turns, out, source, made, **settings) as data:
        facts = data.facts
        told: OutOfFold | None = None
        name, scores, known = None, None, 0
        if source == EXPLICIT:
            evidence = _of_clicks(facts)
        else:
            rows = _eligible(facts, source)
            y = _clicks(rows)
            if made is not None:
                name = f"{made.name} {config_hash(made)}"
                swap = swap or _swap(rows)
                told = out_of_fold(
                    made, rows, y, swap=swap, seed=seed, progress=progress, **of_folds
                )
            else:
                assert predictions is not None
                told, name = probabilities_from(predictions, facts, rows, y, judge_fold=judge_fold)
            p_b = _decided_on(told.p_b, y, source, nu)
            evidence = rows.select(
                "query_id",
                _side(p_b, y, source),
                pl.lit(name).alias("label_model"),
                pl.Series("label_fold", told.label_fold),
                pl.Series("p_b_behavior", told.p_b),
                pl.Series("p_b", p_b),
                pl.lit(nu if source in _OF_THE_TRUTH else None, dtype=pl.Float64).alias("nu"),
                _origin(y, source),
            )
            fresh = np.full(len(y), True) if told.held_out is None else told.held_out
            known = int((~fresh).sum())
            scores = behavior_scores(
                np.where(fresh, y, np.nan), told.p_b, rows["user_id"], seed=seed
            )
        decided = _decide(facts, evidence, source)
        ledger = ledger_of(decided["reason"])
        if source in (REWARD, ALL) and "tie" in ledger.dropped:
            ledger.dropped["undecided"] = ledger.dropped.pop("tie")
        if not ledger.kept:
            raise NothingLabelledError(
                f"0 of {ledger.seen} turns can be labelled by '{source}' (dropped: "
                f"{ledger.dropped}); expected pairwise turns with a preference. Check the data, or "
                "choose another source"
            )
        table = _kept(decided)
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
            likert=likert_contradictions(facts),
            slopes={} if told is None else told.slopes,
            trained_on={} if told is None else told.trained,
            behavior=scores,
            known=known,
            without_behavior=_without_behavior(table) if told is not None else None,
            settings={"seed": seed, **of_folds},
        )
        write_table(out, _pairs(data, decided), LABELS, {METADATA_KEY: report.to_json().encode()})
    return report


def read_turns_with_features(folder: Path | str) -> pl.DataFrame:
    """Read the turns of a prepared folder and compute our features of them, all in memory.

    Args:
        folder: A folder written by `ifllm prepare`.

    Returns:
        The `turns` table of both kinds with the features joined by `query_id`.

    Raises:
        TableError: It is not a prepared folder.
    """
    turns = read_parquet(turn_files(folder), TURNS.names)
    return turns.join(behavior_features(read_turns(folder)), on="query_id", how="left")


def _opened(
    turns: pl.DataFrame | TurnFacts | Path | str,
    out: Path,
    source: str,
    made: Model | None,
    **settings: Any,
) -> AbstractContextManager[TurnFacts]:
    if isinstance(turns, TurnFacts):
        return nullcontext(turns)
    if isinstance(turns, pl.DataFrame):
        return nullcontext(facts_of_table(turns))
    features = source != EXPLICIT
    return facts_of_folder(turns, out, features=features, reads=reads_of(made), **settings)


def _default_model() -> Model:
    try:
        from ifllm_hf.reward.baselines.choice import default_model

        return default_model()
    except ImportError as error:
        raise ConfigError(
            "the default model of ifllm_hf.reward.baselines.choice cannot be loaded "
            f"({error}). Install ifllm-hf[learn], or pass another model"
        ) from error


def _eligible(facts: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return the turns that can become a pair of this source, in order of query id."""
    clicked = pl.col("preference").is_in(["a", "b"])
    fit = pl.col(UNFIT).is_null() & (clicked if source == BOTH else True)
    rows = facts.filter(fit).sort("query_id").drop(UNFIT, BEHAVED, strict=False)
    if not rows.height:
        raise DataError(
            f"none of {facts.height} turns is a pair with two different answers"
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


def _of_clicks(facts: pl.DataFrame) -> pl.DataFrame:
    """Return what the clicks alone decide."""
    on_b = (pl.col("preference") == "b").cast(pl.Float64)
    none = [pl.lit(None, dtype=pl.String).alias("label_model")]
    none += [pl.lit(None, dtype=pl.Int8).alias("label_fold")]
    none += [pl.lit(None, dtype=pl.Float64).alias(c) for c in ("p_b_behavior", "nu")]
    return facts.select("query_id", *none, decided="preference", p_b=on_b, origin=pl.lit(CLICK))


def _side(p_b: FloatArray, y: FloatArray, source: str) -> pl.Series:
    """Return the side that was decided on, or a tie, shape (n,)."""
    side = np.where(p_b > 0.5, "b", np.where(p_b < 0.5, "a", "tie"))
    if source in _OF_THE_TRUTH:  # even odds leave a click as it is
        b_wins = np.where(flipped(p_b, y == 1), y == 0, y == 1)
        side = np.where(np.isfinite(y), np.where(b_wins, "b", "a"), side)
    return pl.Series("decided", side.astype(object), dtype=pl.String)


def _decide(facts: pl.DataFrame, evidence: pl.DataFrame, source: str) -> pl.DataFrame:
    """Return for every turn the side that was decided on as its preference, and what is behind it.

    `reason` is null where that makes a pair. Whoever was eligible has evidence.
    """
    # What is not eligible is left out for another reason than its click, which need not be there.
    otherwise = pl.lit("a") if source in (REWARD, ALL) else pl.col("preference")
    there = [c for c in ("query_id", "user_id", "preference", UNFIT, BEHAVED) if c in facts.columns]
    return (
        facts.select(there)
        .join(evidence, on="query_id", how="left", maintain_order="left")
        .with_columns(
            pl.lit(source).alias("source"),
            explicit_preference="preference",
            preference=pl.coalesce("decided", otherwise),
        )
        .with_columns(drop_reason(pl.col(UNFIT)).alias("reason"))
    )


def _kept(decided: pl.DataFrame) -> pl.DataFrame:
    """Return the turns that make a pair, with its confidence."""
    kept = decided.filter(pl.col("reason").is_null())
    confidence = confidence_of(kept["p_b"].to_numpy())
    return kept.with_columns(pl.Series("confidence", confidence, dtype=pl.Float32))


def _pairs(data: TurnFacts, decided: pl.DataFrame) -> Iterator[pa.Table]:
    """Yield the pairs of one shard of turns after the other, with the columns of `LABELS`.

    `build_preferences` makes them: one piece of code decides what `chosen` means, for clicks and
    for labels.
    """
    start = 0
    for turns in data.parts():
        mine = decided[start : start + turns.height]
        start += turns.height
        if not mine["query_id"].equals(turns["query_id"]):
            raise DataError("the turns have changed while they were labelled; label them again")
        pairs, _ = build_preferences(turns.with_columns(mine["preference"]))
        evidence = _kept(mine).select(n for n in LABELS.names if n in _BESIDE)
        table = pairs.drop("confidence", "source").hstack(evidence).select(LABELS.names)
        if table.height:  # shards of single answers have none
            yield conform(table.to_arrow(), LABELS, "pairs")


def _against_click(table: pl.DataFrame) -> dict[str, int]:
    """Count the pairs with a click on a side, and those whose chosen side is the other one."""
    clicked = table.filter(pl.col("explicit_preference").is_in(["a", "b"]))
    p_b, on_b = clicked["p_b"].to_numpy(), (clicked["explicit_preference"] == "b").to_numpy()
    return {"n": clicked.height, "against": int(flipped(p_b, on_b).sum())}


def _without_behavior(table: pl.DataFrame) -> int | None:
    """Count the pairs of which every behaviour feature is missing; None without such columns."""
    return table.filter(~pl.col(BEHAVED)).height if BEHAVED in table.columns else None
