"""From a prepared folder to pairs of answers with a score, and what of them cannot be used."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.sessions.collected import is_sessions_folder
from ifllm_hf.errors import DataError, SourceError
from ifllm_hf.files import read_parquet, scan_parquet
from ifllm_hf.reward.baselines.inputs import CHARS, chars
from ifllm_hf.reward.scoring.held_out import HELD_OUT
from ifllm_hf.reward.scoring.score_file import score_pairs_file

PAGE = "page"
"""The column that says where a session was recorded; without it all is one page."""
KEYS = ("query_id", "conversation_id", "user_id", "kind")
POINTER = ("mouse_x_px", "mouse_y_px", "mouse_on", "phase")
"""The ticks that the leak probe looks at."""
_CHARS = (CHARS["response_a"], CHARS["response_b"])
_SCORES = {"query_id": pl.Int64, "p_b": pl.Float64, HELD_OUT: pl.Boolean, "head": pl.String}
_TURNS_FILE = "query_logs_table.csv"  # of a release


def page_of_turns(folder: Path) -> pl.DataFrame:
    """Return one row per question: `query_id` and `PAGE`."""
    files = config_files(folder, "turns")
    return _with_page(scan_parquet(files)).select("query_id", PAGE).collect()


def _with_page(rows: pl.LazyFrame) -> pl.LazyFrame:
    if PAGE in rows.collect_schema():
        return rows
    return rows.with_columns(pl.lit(None, pl.String).alias(PAGE))


def scored_pairs(folder: Path, progress: bool = True) -> pl.DataFrame:
    """Score the turns with two answers, each by a head that does not know its reader.

    Args:
        folder: What `ifllm prepare` wrote.
        progress: Whether to draw a bar on stderr.

    Returns:
        `query_id, conversation_id, user_id, kind`, `PAGE`, `asked_at, preference`, the characters
        of both answers, ticks of the pointer as lists, `p_b`, `held_out`, `head`, and `why` the
        pair cannot be used (null: it can).
    """
    files = config_files(folder, "pairwise")
    rows = (
        _with_page(scan_parquet(files))
        .with_columns(chars("response_a"), chars("response_b"))
        .select(*KEYS, PAGE, "asked_at", "preference", *_CHARS, *POINTER)
        .collect()
    )
    scores = _scores(folder, progress) if rows.height else pl.DataFrame(schema=_SCORES)
    return with_reasons(rows.join(scores, on="query_id", how="left"))


def with_reasons(rows: pl.DataFrame) -> pl.DataFrame:
    """Add `why` a pair cannot be used (null: it can), from `preference`, `p_b` and `held_out`."""
    label, p = pl.col("preference"), pl.col("p_b")
    return rows.with_columns(
        why=pl.when(label.is_null())
        .then(pl.lit("no label"))
        .when(label == "tie")
        .then(pl.lit("tie"))
        .when(p.is_null() | ~p.is_finite())
        .then(pl.lit("no score"))
        .when(~pl.col(HELD_OUT).fill_null(False))
        .then(pl.lit("scored by who knows the reader"))
    )


def _scores(folder: Path, progress: bool) -> pl.DataFrame:
    with tempfile.TemporaryDirectory(prefix="ifllm-audit-") as aside:
        out = Path(aside) / "scores.parquet"
        score_pairs_file(folder, out, progress=progress, say=lambda _: None)
        return read_parquet([out], tuple(_SCORES))


def ledger_of(pairs: pl.DataFrame) -> Ledger:
    """Count pairs: those that can be used, and the others by reason."""
    ledger = Ledger("pairs")
    reasons = pairs.group_by("why").len().sort(-pl.col("len").cast(pl.Int64), "why")
    for why, n in reasons.iter_rows():
        if why is None:
            ledger.keep(n)
        else:
            ledger.drop(why, n)
    return ledger


def refuse_empty(source: str | os.PathLike[str] | None) -> None:
    """Raise SourceError for a folder into which nobody has read yet, as every page begins."""
    if source is None or not os.path.isdir(source) or is_prepared(source):
        return
    if not is_sessions_folder(source) and not any(Path(source).rglob(_TURNS_FILE)):
        raise SourceError(
            f"{os.fspath(source)}: holds no session; expected files s_....jsonl or shards "
            "packed-....parquet, a prepared folder, or a release. Name the folder that the page "
            "collects into, or wait for the first reader."
        )


def refuse_nothing(ledger: Ledger, source: str) -> None:
    """Raise DataError unless a pair can be used."""
    if not ledger.kept:
        said = ", ".join(f"{n} {why}" for why, n in ledger.dropped.items()) or "there are none"
        raise DataError(
            f"{source}: no pair of answers has a preference that can be held against behaviour "
            f"({said}); expected some where a or b was preferred. Collect questions with two "
            "answers side by side, and ask which is better."
        )
