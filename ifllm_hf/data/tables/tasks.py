"""The tasks of a release: one row per topic a reader chose, done or not."""

from __future__ import annotations

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.csv_tables import (
    LINE_ENDS,
    TASK_TABLE,
    decimal_numbers,
    filled,
    instants,
    keep_all,
    require,
    whole_numbers,
)
from ifllm_hf.data.schema import SCHEMAS, polars_schema

#: Something that reads as an e-mail address.
EMAIL_PATTERN = r"[\w.+%'\-]+@[\w\-]+(?:\.[\w\-]+)+"
#: What stands in its place.
EMAIL_MASK = "[e-mail]"

# What PHP's htmlspecialchars writes; `&amp;` last, so that nothing is decoded twice.
_ENTITIES = {"&quot;": '"', "&#039;": "'", "&lt;": "<", "&gt;": ">", "&amp;": "&"}

_TEXTS = ("copy_sentence", "summary", "query_copy", "llm_response_copy")

TASK_SCHEMA = polars_schema(SCHEMAS["tasks"])
del TASK_SCHEMA["fold"]  # `add_fold` adds it


def build_tasks(task_table: pl.DataFrame) -> tuple[pl.DataFrame, Ledger]:
    """Build `tasks` from the raw task table.

    A reader ticked topics at login; most were never begun, so most rows are unfinished and empty.
    The free-text feedback of a reader is left out. E-mail-like strings are masked, and entities
    that the first sessions stored (`&quot;`) are turned back into characters. Where a task has two
    rows, the one with more filled cells is kept, then the one finished first.

    Args:
        task_table: `task_table.csv` as `read_csv_table` returns it.

    Returns:
        One row per (worker, task) in file order, columns of `TASK_SCHEMA` (empty cells are null;
        `calibration_score` in percent; `understand_*` 1 to 5); `add_fold` gives it its fold. And
        the ledger of rows, with `duplicate_task` dropped and `email_masked`, `html_entities`,
        `zero_date` and `line_ends` repaired.

    Raises:
        TableError: A cell that is not what its column holds.
    """
    file = TASK_TABLE
    require(task_table, "user_id", file)
    finished_at, zero_date = instants(task_table, "finished", file)
    plain = {c: _unescaped(pl.col(c)) for c in _TEXTS}
    rows = task_table.select(
        "user_id",
        whole_numbers(task_table, "task_id", file, required=True),
        filled("domain"),
        # Set by the site when the last page is reached, so a zero date still says "finished".
        (pl.col("finished") != "").alias("finished"),
        finished_at.alias("finished_at"),
        whole_numbers(task_table, "understand_before", file, low=1, high=5).cast(pl.Int8),
        whole_numbers(task_table, "understand_after", file, low=1, high=5).cast(pl.Int8),
        decimal_numbers(task_table, "accuracy", file).alias("calibration_score"),
        *(cell.str.replace_all(EMAIL_PATTERN, EMAIL_MASK) for cell in plain.values()),
        pl.any_horizontal(cell.str.contains(EMAIL_PATTERN) for cell in plain.values()).alias(
            "email_masked"
        ),
        pl.any_horizontal(cell != pl.col(c) for c, cell in plain.items()).alias("html_entities"),
        zero_date.alias("zero_date"),
        LINE_ENDS,
    ).with_columns(filled(c) for c in _TEXTS)
    rows = rows.with_columns(pl.format("{}/{}", "user_id", "task_id").alias("conversation_id"))

    ledger = Ledger("tasks")
    kept = (
        rows.with_row_index("row")
        .with_columns(pl.sum_horizontal(pl.col(TASK_SCHEMA).is_not_null()).alias("filled"))
        .sort(["filled", "finished_at", "row"], descending=[True, False, False], nulls_last=True)
        .unique("conversation_id", keep="first", maintain_order=True)
        .sort("row")
    )
    repairs = ("email_masked", "html_entities", "zero_date", LINE_ENDS)
    keep_all(ledger, kept.height, {r: kept[r] for r in repairs})
    ledger.drop("duplicate_task", rows.height - kept.height)
    ledger.check()
    return kept.select(pl.col(c).cast(t) for c, t in TASK_SCHEMA.items()), ledger


def _unescaped(cell: pl.Expr) -> pl.Expr:
    for entity, character in _ENTITIES.items():
        cell = cell.str.replace_all(entity, character, literal=True)
    return cell
