"""The turns of a release: one row per question, with its answers, ratings and past."""

from __future__ import annotations

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import (
    LINE_ENDS,
    QUERY_LOGS,
    instants,
    keep_all,
    require,
    whole_numbers,
)
from ifllm_hf.data.schema import TURNS, polars_schema
from ifllm_hf.data.tables.folds import add_fold, assign_folds
from ifllm_hf.errors import TableError

#: Workers whom the paper leaves out. The list is hard coded in its analysis
#: (`feature_creator/src/exclude_bad_workers.py`); no criterion is given there.
EXCLUDED_BY_PAPER = frozenset(
    {
        *("worker_9683ed92", "worker_83c92f1d", "worker_030da562", "worker_8371812d"),
        *("worker_a0dc15c2", "worker_7bef026e", "worker_87c89391", "worker_fa234af6"),
        *("worker_b7c39547", "worker_efe70ff2", "worker_d20db140", "worker_dd6abc1c"),
        *("worker_891c885b", "worker_c07eb25b", "worker_f972316e", "worker_dc32691e"),
        *("worker_5f6ca345", "worker_29e7a1a6", "worker_6680f3d4", "worker_0ddfe023"),
        *("worker_327b4905", "worker_23415b2d", "worker_6ce6a3f8", "worker_cdd07ac1"),
    }
)

#: How the site's text begins when a model could not answer.
ERROR_ANSWER = "AI Error"

TURN_SCHEMA = polars_schema(TURNS)


def build_turns(query_logs: pl.DataFrame, tasks: pl.DataFrame) -> tuple[pl.DataFrame, Ledger]:
    """Build `turns` from the raw query log and the tasks.

    Prompts and answers are as stored, every byte: character offsets of ticks point into them.
    A turn is pairwise if it has a second answer or a second model's name. Turns of a conversation
    stand in the order of their times; one without a time takes its place by `query_id`.
    The histories hold what the reader's earlier questions and that side's earlier answers were;
    what the site appended to a question (the request for bullet points) is not in them.

    Some of the first sessions stored the time of a question whole hours ahead of UTC, but the end
    of the task in UTC. Where a task ends before its last question, the questions of that
    conversation are therefore set back by the fewest whole hours that mend the order
    (`clock_ahead`); on the release that is four hours each time, as the behaviour files confirm.
    Questions of April 2025 carry local times that nothing in the release can mend.

    Args:
        query_logs: `query_logs_table.csv` as `read_csv_table` returns it.
        tasks: The table that `build_tasks` returns.

    Returns:
        One row per question, columns of `TURN_SCHEMA`, conversations in the order of their lowest
        `query_id`; and the ledger of rows, with repairs `zero_date`, `line_break_in_model_name`,
        `clock_ahead` and `line_ends` (a row with two repairs counts under the first of them).

    Raises:
        TableError: A cell that is not what its column holds, or a `query_ID` used twice.
    """
    file = QUERY_LOGS
    require(query_logs, "user_id", file)
    query_id = whole_numbers(query_logs, "query_ID", file, required=True)
    _raise_if_repeated(query_logs, query_id)
    asked_at, zero_date = instants(query_logs, "query_timestamp", file)
    adjustment = whole_numbers(query_logs, "adjustment", file, low=0, high=1, required=True)
    name_a = query_logs["llm_name_1"].str.replace_all(r"\s*[\r\n]\s*", "")
    name_b = query_logs["llm_name_2"].str.replace_all(r"\s*[\r\n]\s*", "")
    rows = pl.DataFrame(
        {
            "query_id": query_id,
            "user_id": query_logs["user_id"],
            "task_id": whole_numbers(query_logs, "task_id", file, required=True),
            "prompt": query_logs["user_query"],
            "response_a": query_logs["llm_response_1"],
            "response_b": query_logs["llm_response_2"],
            "model_a": name_a,
            "model_b": name_b,
            "bullet_suffix": adjustment == 1,
            "likert_a": whole_numbers(query_logs, "likert_1", file, low=1, high=5),
            "likert_b": whole_numbers(query_logs, "likert_2", file, low=1, high=5),
            "stored_preference": whole_numbers(query_logs, "preference", file, low=0, high=2),
            "asked_at": asked_at,
            "line": query_logs["line"],
            "zero_date": zero_date,
            LINE_ENDS: query_logs[LINE_ENDS],
            "line_break_in_model_name": (name_a != query_logs["llm_name_1"])
            | (name_b != query_logs["llm_name_2"]),
        }
    )
    rows = _say_kind_and_preference(rows)
    rows = rows.with_columns(pl.format("{}/{}", "user_id", "task_id").alias("conversation_id"))
    rows = rows.join(
        tasks.select(
            "conversation_id",
            "domain",
            "understand_before",
            "understand_after",
            "calibration_score",
            "finished_at",
        ),
        on="conversation_id",
        how="left",
        maintain_order="left",
        validate="m:1",
    )
    rows = add_histories(_number_turns(_set_clock_back(rows)))
    rows = rows.with_columns(
        (
            pl.col("response_a").str.starts_with(ERROR_ANSWER)
            | pl.col("response_b").str.starts_with(ERROR_ANSWER).fill_null(False)
        ).alias("has_error_answer"),
        pl.col("user_id").is_in(list(EXCLUDED_BY_PAPER)).alias("excluded_by_paper"),
    )
    rows = add_fold(rows, assign_folds(rows))

    ledger = Ledger("turns")
    repairs = ("zero_date", "line_break_in_model_name", "clock_ahead", LINE_ENDS)
    keep_all(ledger, rows.height, {r: rows[r] for r in repairs})
    ledger.check()
    return rows.select(pl.col(c).cast(t) for c, t in TURN_SCHEMA.items()), ledger


def _raise_if_repeated(query_logs: pl.DataFrame, query_id: pl.Series) -> None:
    again = query_id.is_duplicated() & ~query_id.is_first_distinct()
    if again.any():
        at = int(again.arg_true()[0])
        first = int((query_id == query_id[at]).arg_true()[0])
        raise TableError(
            f"{QUERY_LOGS}, line {query_logs['line'][at]}: query_ID {query_id[at]} is already on "
            f"line {query_logs['line'][first]}; expected each once. Leave out one of the two rows."
        )


def _say_kind_and_preference(rows: pl.DataFrame) -> pl.DataFrame:
    """Tell pairs from single answers, and read the two meanings of the stored preference."""
    two_sided = (pl.col("response_b") != "") | (pl.col("model_b") != "")
    stored = pl.col("stored_preference")
    rows = rows.with_columns(two_sided.alias("pair"))
    pair = pl.col("pair")
    wrong = rows.filter(pl.when(pair).then(stored == 0).otherwise(stored == 2))
    if wrong.height:
        line, value, is_pair = wrong.select("line", "stored_preference", "pair").row(0)
        expected = "1 (left) or 2 (right) for two answers" if is_pair else "1 or 0 for one answer"
        raise TableError(
            f"{QUERY_LOGS}, line {line}: 'preference' is {value}, expected {expected}, or nothing. "
            "Correct the cell, or restore the file from the release."
        )
    return rows.with_columns(
        pl.when(pair).then(pl.lit("pairwise")).otherwise(pl.lit("pointwise")).alias("kind"),
        pl.when(pair).then(pl.col("response_b")).alias("response_b"),
        pl.when(pair).then(pl.col("model_b")).alias("model_b"),
        pl.when(pair & (stored == 1))
        .then(pl.lit("a"))
        .when(pair & (stored == 2))
        .then(pl.lit("b"))
        .alias("preference"),
        pl.when(~pair).then(stored == 1).alias("better_than_previous"),
    )


def _set_clock_back(rows: pl.DataFrame) -> pl.DataFrame:
    """Move questions that were stored whole hours ahead of the end of their task."""
    hour = pl.duration(hours=1)
    ahead = pl.col("asked_at").max().over("conversation_id") - pl.col("finished_at")
    late = (ahead > pl.duration(hours=0)).fill_null(False)
    hours = (ahead / hour).ceil().cast(pl.Int64)
    return rows.with_columns(
        pl.when(late)
        .then(pl.col("asked_at") - pl.duration(hours=hours))
        .otherwise(pl.col("asked_at"))
        .alias("asked_at"),
        (late & pl.col("asked_at").is_not_null()).alias("clock_ahead"),
    )


def _number_turns(rows: pl.DataFrame) -> pl.DataFrame:
    """Sort conversations by their lowest query_id and turns by time; number the turns from 1."""
    conversation = "conversation_id"
    return (
        rows.sort("query_id")
        .with_columns(
            pl.col("query_id").min().over(conversation).alias("first"),
            # A question without a time follows everything asked under a lower id.
            pl.coalesce(
                "asked_at", pl.col("asked_at").cum_max().forward_fill().over(conversation)
            ).alias("placed_at"),
        )
        .sort(["first", "placed_at", "query_id"], nulls_last=False)
        .with_columns(pl.int_range(1, pl.len() + 1).over(conversation).alias("turn"))
    )


def add_histories(rows: pl.DataFrame) -> pl.DataFrame:
    """Give each turn the messages before it, for each side on its own.

    Args:
        rows: `conversation_id, query_id, turn, kind, prompt, response_a, response_b`.

    Returns:
        The rows with `history_a` and `history_b` (null in a pointwise turn).
    """
    for side in ("a", "b"):
        past = rows.filter(pl.col(f"response_{side}").is_not_null()).select(
            "conversation_id",
            pl.col("turn").alias("earlier"),
            pl.concat_list(
                pl.struct(pl.lit("user").alias("role"), pl.col("prompt").alias("content")),
                pl.struct(
                    pl.lit("assistant").alias("role"), pl.col(f"response_{side}").alias("content")
                ),
            ).alias("history"),
        )
        histories = (
            rows.select("conversation_id", "query_id", "turn")
            .join(past, on="conversation_id")
            .filter(pl.col("earlier") < pl.col("turn"))
            .sort("query_id", "earlier")
            .group_by("query_id")
            .agg(pl.col("history").list.explode(empty_as_null=False).alias(f"history_{side}"))
        )
        rows = rows.join(histories, on="query_id", how="left", maintain_order="left").with_columns(
            pl.col(f"history_{side}").fill_null(pl.lit([], dtype=TURN_SCHEMA[f"history_{side}"]))
        )
    return rows.with_columns(pl.when(pl.col("kind") == "pairwise").then("history_b"))
