"""The features of the paper, exactly: 212 columns per question and the counters of `all_metrics`.

Fed with rows read by the paper's own rule (`data.raw.lossy`), every cell equals the paper's;
fed with loss-free rows, which is the default everywhere else, the same formulas see all samples.

The parts: `matching` (which question a row belongs to), `response` (how an answer was read),
`phases` (reading against writing), `counters`. Each lists the quirks of the paper that it keeps.
Those of the tables as a whole:

* a question without a valid time takes no part in matching; its response features are 0, but it
  gets the phase values of its conversation (pairwise) or zeros (pointwise);
* the first matching question wins, so text repeated in later turns goes to the earliest one;
* an empty window counts as placeholder text, so rows on an answer without a caret belong to none;
* 0 doubles as missing within a kind; null only marks columns of the other kind;
* lengths are in code points after CRLF became LF (28 answers), carets in UTF-16 units.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from importlib import resources

import polars as pl

from ifllm_hf.behavior.paper.counters import (
    CHANNELS,
    COUNTER_NAMES,
    DERIVED_NAMES,
    SIDES,
    question_metrics,
)
from ifllm_hf.behavior.paper.matching import MatchedFile, match_files
from ifllm_hf.behavior.paper.phases import (
    PAIRWISE_NAMES,
    POINTWISE_CROSS,
    POINTWISE_NAMES,
    SHARED_NAMES,
    Values,
    pairwise_cross,
    pairwise_phases,
    pointwise_cross,
    pointwise_phases,
)
from ifllm_hf.behavior.paper.response import RESPONSE_NAMES, response_block
from ifllm_hf.data.raw.samples import ConversationSamples
from ifllm_hf.errors import DataError, require_one_of

logger = logging.getLogger(__name__)

PAPER_COLUMNS: tuple[str, ...] = (
    "user_query_length",
    *(
        column
        for side in ("A", "B")
        for column in (
            *(f"response_{side}_{c}_{name}" for c in CHANNELS for name in RESPONSE_NAMES),
            f"response_{side}_response_length",
        )
    ),
    *(f"{channel}_{name}" for channel in CHANNELS for name in PAIRWISE_NAMES),
    *(f"cross_modality_{s}_reviewing_duration_ratio_gaze_mouse" for s in SIDES.values()),
    "cross_modality_preference_agreement_gaze_mouse",
    *(
        f"{channel}_{name}"
        for channel in CHANNELS
        for name in POINTWISE_NAMES
        if name not in SHARED_NAMES
    ),
    *(f"cross_modality_{name}_ratio_gaze_mouse" for name in POINTWISE_CROSS),
)
"""The 212 feature columns, in the paper's order."""

METRIC_COLUMNS: tuple[str, ...] = (*COUNTER_NAMES, *DERIVED_NAMES)
"""The 15 counters and the 5 ratios derived from them."""

SAME_AS = {
    "gaze_left_reviewing_active_ratio": ("gaze_left_reviewing_active_time_ratio", False),
    "gaze_right_reviewing_offscreen_ratio": ("gaze_right_reviewing_onscreen_ratio", True),
    "mouse_right_reviewing_offscreen_ratio": ("mouse_right_reviewing_onscreen_ratio", True),
}
"""Listed names that the paper's code never makes -> (column, whether it is 1 minus that)."""


def paper_tables(
    conversations: Iterable[ConversationSamples], turns: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compute the paper's features and metrics in one pass over the samples.

    Args:
        conversations: Behaviour files per conversation, each conversation once. Those without a
            question are passed over (and counted in the log): there is nothing to attach them to.
        turns: The turns table; used are `query_id, conversation_id, prompt, response_a,
            response_b, asked_at`. Turns without behaviour get no row.

    Returns:
        features: `query_id` and `PAPER_COLUMNS`, in the order of `turns`; null in the columns of
            the other kind of conversation. No row if answer a is empty.
        metrics: `query_id` and `METRIC_COLUMNS`, in the order of `turns`; a row for each question
            whose answer was found in some file at least once.

    Raises:
        DataError: If samples have no text windows (collected sessions), a conversation comes
            twice, or `turns` lacks a column.
    """
    by_conversation = _questions(turns)
    features: dict[int, Values] = {}
    metrics: dict[int, Values] = {}
    done: set[str] = set()
    unasked = 0
    for conversation in conversations:
        name = conversation.conversation_id
        if name in done:
            raise DataError(
                f"conversation {name} comes twice; expected each conversation once. "
                "Join its files before computing features."
            )
        done.add(name)
        if name not in by_conversation:
            unasked += 1
            continue
        _add_conversation(conversation, by_conversation[name], features, metrics)
    if unasked:
        logger.info("%d of %d conversations have no question: no features", unasked, len(done))
    order = turns["query_id"].to_list()
    counted = dict.fromkeys(COUNTER_NAMES, pl.Int64) | dict.fromkeys(DERIVED_NAMES, pl.Float64)
    return (
        _frame(features, order, dict.fromkeys(PAPER_COLUMNS, pl.Float64)),
        _frame(metrics, order, counted),
    )


def paper_feature_set(name: str, *, existing: bool = False) -> list[str]:
    """Return one of the paper's hard-coded feature lists.

    Args:
        name: "pairwise" (50 names), "pairwise_gaze" (27) or "pairwise_mouse" (25).
        existing: Leave out the names that the paper's code never makes (47, 25, 24 remain).

    Raises:
        ConfigError: If there is no such list.
    """
    source = resources.files("ifllm_hf.behavior.paper").joinpath("feature_sets.json")
    sets: dict[str, list[str]] = json.loads(source.read_text(encoding="utf-8"))
    require_one_of("feature set", name, sets)
    return [column for column in sets[name] if not (existing and column in SAME_AS)]


def repair_report(lossy: pl.DataFrame, loss_free: pl.DataFrame) -> pl.DataFrame:
    """Tell how much the loss-free reading changes, column by column.

    Args:
        lossy: Features or metrics from rows read by the paper's rule.
        loss_free: The same table from all rows.

    Returns:
        `column, cells, changed, share_changed, max_relative_change`, most changed first. Compared
        are questions present in both, above 1e-9 relative to the larger value (so at most 2, for a
        change of sign); a cell that is null in one only counts as changed by 1.
    """
    columns = [c for c in lossy.columns if c != "query_id"]
    both = lossy.join(loss_free, on="query_id", how="inner", suffix="_new")
    rows = []
    for column in columns:
        old, new = pl.col(column).cast(pl.Float64), pl.col(f"{column}_new").cast(pl.Float64)
        larger = pl.max_horizontal(old.abs(), new.abs())
        change = (
            pl.when(old.is_null() & new.is_null())
            .then(None)
            .when(old.is_null() | new.is_null())
            .then(1.0)
            .when(larger == 0)
            .then(0.0)
            .otherwise((old - new).abs() / larger)
        )
        values = both.select(change.alias("change"))["change"].drop_nulls()
        changed = int((values > 1e-9).sum())
        largest = values.max() if len(values) else 0.0
        rows.append((column, len(values), changed, changed / max(len(values), 1), largest))
    schema = {
        "column": pl.String,
        "cells": pl.Int64,
        "changed": pl.Int64,
        "share_changed": pl.Float64,
        "max_relative_change": pl.Float64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row").sort(
        "share_changed", "column", descending=[True, False]
    )


def _questions(turns: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the questions per conversation, those with a valid time first, in order of asking."""
    needed = ["query_id", "conversation_id", "prompt", "response_a", "response_b", "asked_at"]
    missing = [column for column in needed if column not in turns.columns]
    if missing:
        raise DataError(f"turns: columns {missing} are missing; expected the turns table.")
    ordered = turns.select(needed).sort("asked_at", nulls_last=True, maintain_order=True)
    groups = ordered.partition_by("conversation_id", as_dict=True, maintain_order=True)
    return {str(key[0]): frame for key, frame in groups.items()}


def _add_conversation(
    conversation: ConversationSamples,
    questions: pl.DataFrame,
    features: dict[int, Values],
    metrics: dict[int, Values],
) -> None:
    """Add the rows of one conversation's questions to both tables."""
    query_ids: list[int] = questions["query_id"].to_list()
    n_asked = len(questions) - questions["asked_at"].null_count()
    sides = ("a", "b") if conversation.kind == "pairwise" else ("a",)
    files: dict[tuple[str, str], MatchedFile] = {}
    lengths: dict[str, list[int]] = {}
    for side in sides:
        answers = [_one_line_feed(text) for text in questions[f"response_{side}"].to_list()]
        lengths[side] = [len(text) for text in answers]
        named = [
            (f"{conversation.conversation_id}, {channel} {side}", samples)
            for channel in CHANNELS
            if (samples := conversation.file(channel, side)) is not None
        ]
        matched = match_files(named, answers[:n_asked])
        for channel, file in zip(CHANNELS, matched, strict=True):
            files[channel, side] = file.sorted()

    for number, values in question_metrics(files, lengths).items():
        metrics[query_ids[number - 1]] = values

    numbers = [i + 1 if i < n_asked else 0 for i in range(len(questions))]
    phases = _phases(files, conversation.kind, numbers)
    for i, prompt in enumerate(questions["prompt"].to_list()):
        if lengths["a"][i] == 0:
            continue
        row: Values = {"user_query_length": len(_one_line_feed(prompt))}
        for (channel, side), file in files.items():
            prefix = f"response_{side.upper()}"
            row[f"{prefix}_response_length"] = length = lengths[side][i]
            for name, value in response_block(file, numbers[i], length).items():
                row[f"{prefix}_{channel}_{name}"] = value
        row.update(phases[i])
        features[query_ids[i]] = row


def _one_line_feed(text: str | None) -> str:
    """Return the text as the paper read it: every line end is one line feed, missing is ""."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n")


def _phases(
    files: dict[tuple[str, str], MatchedFile], kind: str, numbers: list[int]
) -> list[Values]:
    """Return the phase columns, under their full names, for each question number."""
    if kind == "pairwise":
        by_channel = {c: pairwise_phases(files[c, "a"], files[c, "b"]) for c in CHANNELS}
        shared = _prefixed(by_channel) | pairwise_cross(by_channel["gaze"], by_channel["mouse"])
        return [shared] * len(numbers)
    known = {c: pointwise_phases(files[c, "a"]) for c in CHANNELS}
    nothing = dict.fromkeys(POINTWISE_NAMES, 0.0)
    rows = []
    for number in numbers:
        by_channel = {c: known[c].get(number, nothing) for c in CHANNELS}
        cross = pointwise_cross(by_channel["gaze"], by_channel["mouse"])
        rows.append(_prefixed(by_channel) | cross)
    return rows


def _prefixed(by_channel: dict[str, Values]) -> Values:
    """Return the values under `{channel}_{name}`."""
    return {f"{c}_{name}": v for c, values in by_channel.items() for name, v in values.items()}


def _frame(rows: dict[int, Values], order: list[int], schema: Mapping[str, type]) -> pl.DataFrame:
    """Return the rows as a table in the order given; columns a row lacks are null."""
    ids = [query_id for query_id in order if query_id in rows]
    kept = [rows[query_id] for query_id in ids]
    columns = {name: [row.get(name) for row in kept] for name in schema}
    return pl.DataFrame({"query_id": ids, **columns}, schema={"query_id": pl.Int64, **schema})
