"""Explicit preferences as chosen and rejected answers, in the format that TRL reads."""

from __future__ import annotations

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.schema import SCHEMAS

#: Where the label of a pair comes from: the reader's own click.
EXPLICIT = "explicit"
_POINTWISE = "pointwise"


def build_preferences(turns: pl.DataFrame) -> tuple[pl.DataFrame, Ledger]:
    """Turn labelled pairs into `prompt`, `chosen`, `rejected`.

    `chosen` is the answer that the reader said was better: the left one (`response_a`) where the
    release stores preference 1, the right one where it stores 2. (The paper's training code has it
    the other way round.) The secret suffix that asked for bullet points is not part of `prompt`;
    `bullet_suffix` says where it was sent.

    Args:
        turns: The table that `build_turns` returns.

    Returns:
        One row per pair in the order of `turns`: `prompt, chosen, rejected` (strings as stored),
        `confidence` (f32, 1.0), `source` ("explicit"), `query_id, conversation_id, user_id,
        task_id, turn, fold, bullet_suffix, history_chosen, history_rejected` (messages of the
        earlier turns of that side). And the ledger of turns, dropped as `pointwise`,
        `no_preference`, `tie`, `error_answer`, `empty_answer` or `identical_answers`.
    """
    a_better = pl.col("preference") == "a"

    def pick(of_a: str, of_b: str, a_wins: pl.Expr) -> pl.Expr:
        return pl.when(a_wins).then(pl.col(of_a)).otherwise(pl.col(of_b))

    judged = turns.with_columns(drop_reason(unfit()).alias("reason"))
    pairs = judged.filter(pl.col("reason").is_null()).with_columns(
        pick("response_a", "response_b", a_better).alias("chosen"),
        pick("response_a", "response_b", ~a_better).alias("rejected"),
        pl.lit(1.0, dtype=pl.Float32).alias("confidence"),
        pl.lit(EXPLICIT).alias("source"),
        pick("history_a", "history_b", a_better).alias("history_chosen"),
        pick("history_a", "history_b", ~a_better).alias("history_rejected"),
    )
    pairs = pairs.select(SCHEMAS["preferences"].names)
    return pairs, ledger_of(judged["reason"])


def unfit() -> pl.Expr:
    """Return why a turn is no pair, whichever answer is preferred; null where it is one.

    Reads `kind, has_error_answer, response_a, response_b`.
    """
    return (
        pl.when(pl.col("kind") != "pairwise")
        .then(pl.lit(_POINTWISE))
        .when(pl.col("has_error_answer"))
        .then(pl.lit("error_answer"))
        .when((pl.col("response_a") == "") | (pl.col("response_b") == ""))
        .then(pl.lit("empty_answer"))
        .when(pl.col("response_a") == pl.col("response_b"))
        .then(pl.lit("identical_answers"))
    )


def drop_reason(unfit: pl.Expr) -> pl.Expr:
    """Return why a turn gives no pair, given `unfit()` and the column `preference`; else null."""
    return (
        pl.when(unfit == _POINTWISE)
        .then(pl.lit(_POINTWISE))
        .when(pl.col("preference").is_null())
        .then(pl.lit("no_preference"))
        .when(pl.col("preference") == "tie")
        .then(pl.lit("tie"))
        .otherwise(unfit)
    )


def ledger_of(reasons: pl.Series) -> Ledger:
    """Count turns by their `drop_reason`."""
    ledger = Ledger("preferences")
    ledger.keep(reasons.null_count())
    dropped = reasons.drop_nulls().value_counts(sort=True)
    for why, n in dropped.sort(reasons.name).iter_rows():
        ledger.drop(why, n)
    ledger.check()
    return ledger
