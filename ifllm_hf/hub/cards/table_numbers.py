"""The numbers of the card that come from questions, tasks and readers.

Every function returns values for the card's template by name; None stands for "cannot be said of
this data", and the sentence that needs it disappears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ifllm_hf.data.schema import CONFIGS, SCHEMAS
from ifllm_hf.data.tables.tasks import EMAIL_PATTERN
from ifllm_hf.data.tables.turns import EXCLUDED_BY_PAPER
from ifllm_hf.data.tables.workers import QUASI_IDENTIFIERS
from ifllm_hf.files import read_parquet
from ifllm_hf.hub.cards.tick_numbers import PERCENTILES, TickNumbers
from ifllm_hf.metrics.core import score_interval

Values = dict[str, Any]

_DRAWS = 500  # of the bootstrap over readers


def shards(folder: Path, config: str) -> list[Path]:
    """Return the Parquet files of a config in order; the card is written before the marker is."""
    return sorted((folder / config).glob("train-*.parquet"))


def read_small(folder: Path, config: str, columns: Iterable[str]) -> pl.DataFrame:
    """Read some scalar columns of a config."""
    names = list(columns)
    return read_parquet(shards(folder, config), names)


def read_turns(folder: Path) -> pl.DataFrame:
    """Read the scalar columns of all questions."""
    scalars = [f.name for f in SCHEMAS["pairwise"] if not pa.types.is_nested(f.type)]
    return pl.concat(read_small(folder, kind, scalars) for kind in ("pairwise", "pointwise"))


def config_rows(folder: Path) -> dict[str, int]:
    """Return the number of rows of every config, from the files' footers."""
    return {
        config: sum(pq.read_metadata(file).num_rows for file in shards(folder, config))
        for config in CONFIGS
    }


def turn_values(turns: pl.DataFrame, recorded: pl.DataFrame) -> Values:
    """Count questions, labels and readers.

    Args:
        turns: What `read_turns` returns.
        recorded: `conversation_id` and `user_id` of the conversations that have ticks.
    """
    pairs = turns.filter(pl.col("kind") == "pairwise")
    labelled = pairs.filter(pl.col("preference").is_in(["a", "b"]))
    per_conversation = turns.group_by("conversation_id").len()["len"]
    by_reader = turns["user_id"].value_counts(sort=True)["count"]
    has_files = turns.join(recorded, on="conversation_id", how="semi")
    silent = turns.join(recorded, on="conversation_id", how="anti")
    unasked = recorded.join(turns, on="conversation_id", how="anti")
    excluded = turns.filter("excluded_by_paper")
    dates = turns["asked_at"].drop_nulls()
    scores = turns["calibration_score"].drop_nulls()
    answers = pl.concat([turns["response_a"], turns["response_b"].drop_nulls()])
    odd = (turns["kind"] == "pairwise") != (turns["task_id"] % 2 == 1)
    return {
        "turns": turns.height,
        "conversations": per_conversation.len(),
        "multi_turn": int((per_conversation > 1).sum()),
        "turns_mean": float(turns.height / max(1, per_conversation.len())),
        "readers": by_reader.len(),
        "topics": turns["task_id"].n_unique(),
        "pairwise": pairs.height,
        "pointwise": turns.height - pairs.height,
        "labelled": labelled.height,
        "prefer_a": int((pairs["preference"] == "a").sum()),
        "prefer_b": int((pairs["preference"] == "b").sum()),
        "prefer_tie": int((pairs["preference"] == "tie").sum()) or None,
        "unlabelled": pairs["preference"].null_count(),
        "likert_rows": _likert_rows(turns),
        "model_rows": _model_rows(turns),
        "bullet": int(turns["bullet_suffix"].sum()),
        "first_date": None if dates.is_empty() else str(dates.dt.date().min()),
        "last_date": None if dates.is_empty() else str(dates.dt.date().max()),
        "no_time": _some(turns["asked_at"].null_count()),
        "recorded_conversations": recorded.height,
        "recorded_readers": recorded["user_id"].n_unique(),
        "recorded_without_turn": _some(unasked.height),
        "silent_turns": _some(silent.height),
        "silent_months": _months(silent),
        "tickless_turns": _some(has_files["reading_end_source"].null_count()),
        "error_turns": _some(int(turns["has_error_answer"].sum())),
        "error_labelled": int(labelled["has_error_answer"].sum()),
        "odd_kind": _some(int(odd.sum())) if odd.sum() * 10 < turns.height else None,
        "repeated_prompts": _some(turns.height - turns.n_unique(["conversation_id", "prompt"])),
        "email_answers": _some(int(answers.str.contains(EMAIL_PATTERN).sum())),
        "calibration_low": scores.min(),
        "calibration_high": scores.max(),
        "calibration_missing": _some(turns["calibration_score"].null_count()),
        "top_reader_share": float(by_reader[0] / turns.height) if len(by_reader) else None,
        "top_five_share": float(by_reader[:5].sum() / max(1, turns.height)),
        "excluded_listed": len(EXCLUDED_BY_PAPER),
        "excluded_turns": _some(excluded.height),
        "excluded_readers": excluded["user_id"].n_unique(),
        "reading_found": int((turns["reading_end_source"] == "rating_zone").sum()),
        "reading_fallback": int((turns["reading_end_source"] == "fallback").sum()),
        "with_ticks": turns.height - turns["reading_end_source"].null_count(),
        **_repeat_values(labelled),
        **_length_values(labelled),
    }


def subset_values(turns: pl.DataFrame, recorded: pl.DataFrame, wanted_readers: int) -> Values:
    """Count the subsets that a headline of `wanted_readers` readers might have meant."""
    kept = turns.filter(~pl.col("excluded_by_paper"))
    with_files = kept.join(recorded, on="conversation_id", how="semi")
    with_ticks = with_files.drop_nulls("reading_end_source")
    subsets = {
        "all questions": turns,
        "without the readers that the paper leaves out": kept,
        "... of these, in conversations with a recording": with_files,
        "... of these, with at least one tick": with_ticks,
        "all pairwise questions with a preference": turns.drop_nulls("preference"),
    }
    readers = {name: part["user_id"].n_unique() for name, part in subsets.items()}
    rows = [
        f"| {name} | {part.height:,} | {part['conversation_id'].n_unique():,} | {readers[name]:,} |"
        for name, part in subsets.items()
    ]
    nearest = min(readers.values(), key=lambda n: (abs(n - wanted_readers), n))
    return {"subset_rows": "\n".join(rows), "nearest_readers": nearest}


def tick_values(numbers: TickNumbers, turns: pl.DataFrame) -> Values:
    """Put the counts over ticks into words."""
    total = max(1, numbers.ticks)
    recorded = max(1, numbers.camera["true"] + numbers.camera["false"])
    moved, idle = numbers.median_distance_px("moved"), numbers.median_distance_px("idle")
    percentiles = {f"interval_p{p}": numbers.interval_percentile(p) for p in PERCENTILES}
    return {
        "ticks": numbers.ticks,
        **{f"ticks_{phase}": n for phase, n in numbers.phases.items()},
        **{f"share_{phase}": n / total for phase, n in numbers.phases.items()},
        **percentiles,
        "gaps": _some(numbers.gaps),
        "reloads": _some(numbers.reloads),
        "reordered": _some(numbers.reordered),
        "camera_share": numbers.camera["true"] / recorded if numbers.camera["true"] else None,
        "camera_missing": _some(numbers.camera["null"]),
        "distance_moved": None if idle is None else moved,
        "distance_idle": None if moved is None else idle,
        **_pointer_values(numbers, turns),
    }


def table_values(tasks: pl.DataFrame, workers: pl.DataFrame, turns: pl.DataFrame) -> Values:
    """Count tasks and readers."""
    combinations = workers.group_by(QUASI_IDENTIFIERS).len()
    told = pl.any_horizontal(pl.col(QUASI_IDENTIFIERS).is_not_null())
    agreed = workers.filter("consent")
    silent = turns.join(agreed, on="user_id", how="anti")
    finished = int(tasks["finished"].fill_null(False).sum())
    return {
        "task_rows": tasks.height,
        "task_readers": tasks["user_id"].n_unique(),
        "tasks_finished": finished,
        "tasks_unfinished": tasks.height - finished,
        "workers_rows": workers.height,
        "k_reached": combinations["len"].min(),
        "demographics": workers.filter(told).height,
        "not_consenting": _some(workers.height - agreed.height),
        "readers_without_consent": silent["user_id"].n_unique(),
    }


def ledger_values(ledgers: Mapping[str, Any] | None) -> Values:
    """Take from the read ledgers what the tables no longer show; None without ledgers.

    Args:
        ledgers: What `Release.ledgers` returns.
    """
    tables, behavior = ((ledgers or {}).get(part, {}) for part in ("tables", "behavior"))

    def of_table(table: str, part: str, reason: str) -> int | None:
        return _some(tables.get(table, {}).get(part, {}).get(reason, 0))

    def of_behavior(part: str, *reasons: str) -> int | None:
        return _some(sum(b.get(part, {}).get(r, 0) for b in behavior.values() for r in reasons))

    values = {
        "has_ledger": "",
        "ledger_rows": _ledger_rows({**tables, **behavior}),
        "clock_ahead": of_table("turns", "repaired_by", "clock_ahead"),
        "model_name_repaired": of_table("turns", "repaired_by", "line_break_in_model_name"),
        "task_rows_seen": tables.get("tasks", {}).get("seen"),
        "email_masked": of_table("tasks", "repaired_by", "email_masked"),
        "withheld": of_table("workers", "repaired_by", "value_withheld"),
        "written_twice": of_behavior("dropped", "batch written twice"),
        "damaged_windows": of_behavior(
            "repaired_by", "window without its quotes", "line quoted again by a CSV writer"
        ),
        "lost_rows": of_behavior("dropped", "tick has no row in this file"),
    }
    return values if ledgers else dict.fromkeys(values)


def quality_values(quality: Mapping[str, Any] | None) -> Values:
    """Take the agreement of the alignment from the report of `prepare`; None without it.

    Args:
        quality: `agreement` as `Agreement.to_dict` returns it; other keys are not used.
    """
    agreement = (quality or {}).get("agreement") or {}
    ticks = agreement.get("ticks") or 0
    causes = ("at_boundary", "earlier", "later", "before_first")
    shares = {f"wrong_{c}": agreement.get(c, 0) / ticks if ticks else None for c in causes}
    return {
        "agreement": agreement["share"] if ticks else None,
        "agreement_ticks": ticks or None,
        **shares,
    }


def _pointer_values(numbers: TickNumbers, turns: pl.DataFrame) -> Values:
    """Tell how well the mouse's last place off the answers gives the choice away, by phase."""
    places = pl.concat(numbers.pointer) if numbers.pointer else None
    values: Values = {}
    for code, phase in ((0, "reading"), (1, "rating")):
        values[f"leak_{phase}"] = None
        if places is not None:
            rows = places.filter(pl.col("phase") == code)
            rows = rows.unique("query_id", keep="last", maintain_order=True)
            rows = turns.join(rows, on="query_id").filter(pl.col("preference").is_in(["a", "b"]))
            values[f"leak_{phase}"] = _interval("auc", rows, pl.col("place"))
    if None in values.values():
        return dict.fromkeys(values)
    return values


def _length_values(labelled: pl.DataFrame) -> Values:
    a, b = pl.col("response_a").str.len_chars(), pl.col("response_b").str.len_chars()
    b_longer = pl.when(b > a).then(1.0).when(b < a).then(0.0).otherwise(0.5)
    return {"length_rule": _interval("accuracy", labelled, b_longer)}


def _interval(metric: str, rows: pl.DataFrame, predicted: pl.Expr) -> str | None:
    """Return a score with n, readers and an interval over readers; None if it has no meaning."""
    if rows["preference"].n_unique() < 2 or rows["user_id"].n_unique() < 2:
        return None
    score = score_interval(
        metric,
        (rows["preference"] == "b").cast(pl.Int8).to_numpy(),
        rows.select(predicted.cast(pl.Float64)).to_series().to_numpy(),
        rows["user_id"].to_numpy(),
        draws=_DRAWS,
    )
    return (
        f"{score.estimate:.2f} [{score.low:.2f}, {score.high:.2f}] "
        f"(n = {rows.height:,}, {score.groups} readers)"
    )


def _repeat_values(labelled: pl.DataFrame) -> Values:
    """Tell how often two neighbouring questions of a conversation get the same side."""
    rows = labelled.sort("conversation_id", "turn").with_columns(
        pl.col("turn", "preference").shift().over("conversation_id").name.suffix("_before")
    )
    pairs = rows.filter(pl.col("turn") == pl.col("turn_before") + 1)
    same = pairs.filter(pl.col("preference") == pl.col("preference_before")).height
    return {
        "neighbours": _some(pairs.height),
        "same_label_share": same / pairs.height if pairs.height else None,
    }


def _likert_rows(turns: pl.DataFrame) -> str:
    columns = {
        "left": turns.filter(pl.col("kind") == "pairwise")["likert_a"],
        "right": turns.filter(pl.col("kind") == "pairwise")["likert_b"],
        "single": turns.filter(pl.col("kind") == "pointwise")["likert_a"],
    }
    return "\n".join(
        f"| {name} | {' | '.join(f'{int((c == i).sum()):,}' for i in range(1, 6))} "
        f"| {c.null_count():,} |"
        for name, c in columns.items()
    )


def _model_rows(turns: pl.DataFrame) -> str:
    models = pl.concat([turns["model_a"], turns["model_b"]]).drop_nulls()
    counts = models.value_counts(sort=True).sort(["count", models.name], descending=[True, False])
    return "\n".join(f"| `{name}` | {n:,} |" for name, n in counts.iter_rows())


def _months(turns: pl.DataFrame) -> str | None:
    months = turns["asked_at"].drop_nulls().dt.strftime("%Y-%m").value_counts().sort("asked_at")
    return ", ".join(f"{month}: {n:,}" for month, n in months.iter_rows()) or None


def _ledger_rows(parts: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, part in parts.items():
        repaired = _reasons(part.get("repaired_by", {}))
        dropped = _reasons(part.get("dropped", {}))
        rows.append(f"| `{name}` | {part['seen']:,} | {part['kept']:,} | {repaired} | {dropped} |")
    return "\n".join(rows)


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{r.replace('_', ' ')} {n:,}" for r, n in counts.items()) or "–"


def _some(n: int) -> int | None:
    """Return None for 0: a defect that this data does not have is not listed."""
    return n or None
