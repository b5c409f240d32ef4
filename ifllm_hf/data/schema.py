"""The columns of the seven configs: one definition for the Parquet files and for `Features`.

Enumerations are plain strings (`ENUMERATIONS` lists their values). The ticks of a turn are parallel
lists of equal length, one list per column, never a list of structs: that reads as numpy a hundred
times faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import polars as pl
    from datasets import Features

# Goes up whenever a column appears, disappears or changes its type or meaning.
SCHEMA_VERSION = 3

DEFAULT_CONFIG = "pairwise"

ENUMERATIONS: dict[str, tuple[str, ...]] = {
    "kind": ("pairwise", "pointwise"),
    "preference": ("a", "b", "tie"),
    "gaze_on": ("none", "a", "b"),
    "mouse_on": ("none", "a", "b"),
    "gaze_surface": ("response", "placeholder", "rating", "page", "none"),
    "mouse_surface": ("response", "placeholder", "rating", "page", "none"),
    "surface": ("response", "placeholder", "rating", "page", "none"),
    "phase": ("reading", "rating", "after"),
    "reading_end_source": ("rating_zone", "fallback"),
    "source": ("explicit", "reward", "both", "all"),
}
"""The values of every column that holds one of a few strings; null is not listed."""

_UTC = pa.timestamp("us", tz="UTC")
_MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

TURNS = pa.schema(
    [
        ("query_id", pa.int64()),
        ("conversation_id", pa.string()),
        ("user_id", pa.string()),
        ("task_id", pa.int64()),
        ("turn", pa.int16()),
        ("kind", pa.string()),
        ("domain", pa.string()),
        ("prompt", pa.string()),
        ("response_a", pa.string()),
        ("response_b", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("bullet_suffix", pa.bool_()),
        ("history_a", _MESSAGES),
        ("history_b", _MESSAGES),
        ("likert_a", pa.int8()),
        ("likert_b", pa.int8()),
        ("preference", pa.string()),
        ("better_than_previous", pa.bool_()),
        ("asked_at", _UTC),
        ("understand_before", pa.int8()),
        ("understand_after", pa.int8()),
        ("calibration_score", pa.float32()),
        ("has_error_answer", pa.bool_()),
        ("excluded_by_paper", pa.bool_()),
        ("fold", pa.int8()),
    ]
)
"""One row per question; the scalar part of the `pairwise` and `pointwise` configs."""

TICKS = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("query_id", pa.int64()),
        ("message_id", pa.string()),
        ("page_load", pa.int16()),
        ("file_row", pa.int32()),
        ("t_ms", pa.float64()),
        ("epoch_ms", pa.int64()),
        ("gaze_x_px", pa.float32()),
        ("gaze_y_px", pa.float32()),
        ("mouse_x_px", pa.float32()),
        ("mouse_y_px", pa.float32()),
        ("gaze_rel_x_px_a", pa.float32()),
        ("gaze_rel_y_px_a", pa.float32()),
        ("gaze_rel_x_px_b", pa.float32()),
        ("gaze_rel_y_px_b", pa.float32()),
        ("mouse_rel_x_px_a", pa.float32()),
        ("mouse_rel_y_px_a", pa.float32()),
        ("mouse_rel_x_px_b", pa.float32()),
        ("mouse_rel_y_px_b", pa.float32()),
        ("gaze_on", pa.string()),
        ("mouse_on", pa.string()),
        ("gaze_char", pa.int32()),
        ("mouse_char", pa.int32()),
        ("gaze_caret_utf16", pa.int32()),
        ("mouse_caret_utf16", pa.int32()),
        ("gaze_window", pa.string()),
        ("mouse_window", pa.string()),
        ("camera_ok", pa.bool_()),
        ("mouse_idle_ms", pa.float32()),
        ("scroll_y_px", pa.float32()),
        ("scroll_y_px_a", pa.float32()),
        ("scroll_y_px_b", pa.float32()),
        ("visible_from_char_a", pa.int32()),
        ("visible_to_char_a", pa.int32()),
        ("visible_from_char_b", pa.int32()),
        ("visible_to_char_b", pa.int32()),
        ("gaze_surface", pa.string()),
        ("mouse_surface", pa.string()),
        ("surface", pa.string()),
        ("phase", pa.string()),
    ]
)
"""One row per instant: what the reader hands over, before ticks become lists."""

VIEW_COLUMNS = TICKS.names[
    TICKS.names.index("scroll_y_px") : TICKS.names.index("visible_to_char_b") + 1
]
"""What of the page was on screen; collected sessions record it, the release did not (null)."""

_PLACES_IN_PAGE = ("_rel_", "_caret_", "_window")
TURN_TICK_COLUMNS = tuple(
    name
    for name in TICKS.names
    if name not in ("conversation_id", "query_id", "message_id")
    and not any(part in name for part in _PLACES_IN_PAGE)
)
"""The tick columns that travel with a turn, as parallel lists."""

CONVERSATION_TICK_COLUMNS = tuple(name for name in TICKS.names if name != "conversation_id")
"""The tick columns of the `ticks` config, as parallel lists."""


def _of_turns(*names: str) -> list[pa.Field]:
    return [TURNS.field(name) for name in names]


def _lists(names: tuple[str, ...]) -> list[pa.Field]:
    return [pa.field(name, pa.list_(TICKS.field(name).type)) for name in names]


_TURN = pa.schema([*TURNS, pa.field("reading_end_source", pa.string())])
_TURN_ROW = pa.schema([*_TURN, *_lists(TURN_TICK_COLUMNS)])

SCHEMAS: dict[str, pa.Schema] = {
    "pairwise": _TURN_ROW,
    "pointwise": _TURN_ROW,
    "turns": _TURN,
    "ticks": pa.schema(
        [
            *_of_turns("conversation_id", "user_id", "task_id", "kind", "fold"),
            *_lists(CONVERSATION_TICK_COLUMNS),
        ]
    ),
    "preferences": pa.schema(
        [
            *_of_turns("prompt"),
            ("chosen", pa.string()),
            ("rejected", pa.string()),
            ("confidence", pa.float32()),
            ("source", pa.string()),
            *_of_turns("query_id", "conversation_id", "user_id", "task_id", "turn", "fold"),
            *_of_turns("bullet_suffix"),
            ("history_chosen", _MESSAGES),
            ("history_rejected", _MESSAGES),
        ]
    ),
    "tasks": pa.schema(
        [
            *_of_turns("conversation_id", "user_id", "task_id", "domain"),
            ("finished", pa.bool_()),
            ("finished_at", _UTC),
            *_of_turns("understand_before", "understand_after", "calibration_score"),
            ("copy_sentence", pa.string()),
            ("summary", pa.string()),
            ("query_copy", pa.string()),
            ("llm_response_copy", pa.string()),
            *_of_turns("fold"),
        ]
    ),
    "workers": pa.schema(
        [
            *_of_turns("user_id"),
            ("consent", pa.bool_()),
            ("age", pa.string()),
            ("education", pa.string()),
            ("race", pa.string()),
            ("gender", pa.string()),
            *_of_turns("fold"),
        ]
    ),
}
"""The Arrow schema of every config, in the order in which the configs are listed."""

CONFIGS = tuple(SCHEMAS)

MESSAGES = pa.schema(
    [
        ("conversation_id", pa.string()),
        ("message_id", pa.string()),
        ("parent_id", pa.string()),
        ("role", pa.string()),
        ("content", pa.string()),
        ("model", pa.string()),
        ("sibling_index", pa.int32()),
        ("n_siblings", pa.int32()),
        ("created_at", _UTC),
        ("origin", pa.string()),
        ("replaces", pa.string()),
        ("stopped", pa.bool_()),
        *((name, TURNS.field(name).type) for name in ("user_id", "fold")),
    ]
)
"""One row per message of a chat page, a conversation after the other, parents before children."""

ORIGINS_OF_MESSAGES = (
    *("written", "with_files"),  # of the reader
    *("generated", "regenerated", "continued", "with_tools", "failed"),  # of a model
    *("edited_by_person", "copied"),
)
"""The values of `origin` in `messages`.

`with_files`: a question that came with files, so that its text is not all of it. `with_tools`: an
answer that rests on what tools, searches or documents gave, which stands in no message. `failed`:
an error, or nothing. `copied`: it came with a copy of an older chat, and so did its siblings; what
was done with them was done there. `edited_by_person`: a person wrote this text, or changed it;
`model` is then `person`, and `replaces` names the text as the model wrote it.
"""

ACTIONS = pa.schema(
    [
        *(MESSAGES.field(name) for name in ("conversation_id", "message_id", "user_id")),
        ("action", pa.string()),
        ("value", pa.float64()),
        ("at", _UTC),
        ("source", pa.string()),
    ]
)
"""One row per thing that a reader did with a message: what was done, not where the mouse was."""

KINDS_OF_ACTION = (
    *("copy", "copy_part", "regenerate", "edit", "continue", "stop", "switch"),
    *("like", "dislike", "rate", "follow_up", "undo"),
)
"""The values of `action` in `actions`.

`value` is 1 for `like`, -1 for `dislike`, 1 to 10 for `rate`, null elsewhere. `regenerate` and
`edit` stand at the text that was replaced, `follow_up` at the answer after which the reader wrote
on, `switch` at the answer that the reader clicked on among several, `undo` at the answer that was
taken back with its question.
"""

CHAT_SCHEMAS = {"messages": MESSAGES, "actions": ACTIONS}
"""Configs that a prepared folder of chat pages has beside `CONFIGS`."""

TABLE_SCHEMAS = {**SCHEMAS, **CHAT_SCHEMAS}
"""The schema of every table that a prepared folder may hold."""


def polars_schema(schema: pa.Schema) -> dict[str, pl.DataType]:
    """Return an Arrow schema as the types of polars, by column."""
    import polars as pl

    return dict(pl.DataFrame(schema.empty_table()).schema)


def features(config: str) -> Features:
    """Return the `datasets` feature types of a config.

    Args:
        config: One of `CONFIGS`.

    Returns:
        `Features` whose Arrow schema equals `SCHEMAS[config]`.
    """
    from datasets import Features

    return Features.from_arrow_schema(SCHEMAS[config])
