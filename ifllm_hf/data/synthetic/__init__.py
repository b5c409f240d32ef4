"""A made-up release in the exact file formats of the real one, with known truth beside it.

* `texts`: questions and answers from a small vocabulary
* `page`: the collection page: columns, lines, carets, rating form
* `script`: what a reader does when
* `reader`: where eyes and pointer go
* `observe`: what the site's listener records of that
* `readers_wanted`: the settings: texts, taste, behaviour, clicks
* `story`: who takes part, what they like, which defects go where
* `tables`, `writer`: the files
* `truth`: what is true of all of it

Nothing in it comes from a person or a model: numbers computed on it say nothing about people.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, RECORD_INFO, TASK_TABLE
from ifllm_hf.data.synthetic import story, tables, texts
from ifllm_hf.data.synthetic.reader import Recording, simulate
from ifllm_hf.data.synthetic.readers_wanted import Readers, Shown, Taste, Texts
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX, Conversation, StoryTurn
from ifllm_hf.data.synthetic.truth import (
    FOLDER,
    PHASE,
    SIDE,
    SURFACE,
    Defect,
    Truth,
    read_truth,
)
from ifllm_hf.data.synthetic.writer import Written, write_behavior
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.files import to_parquet, whole_folder

__all__ = [
    "SYNTHETIC_PREFIX",
    "Defect",
    "Readers",
    "Shown",
    "Taste",
    "Texts",
    "Truth",
    "count_turns",
    "read_truth",
    "readers_of_turns",
    "write_synthetic_release",
]

_PLAN_SEED, _CLICK_SEED = 0x1F11, 0xC11C
_TICKS_PER_PART = 500_000


@dataclass
class _Parts:
    """True ticks on their way to Parquet, a part at a time."""

    folder: Path
    frames: list[pl.DataFrame] = field(default_factory=list)
    rows: int = 0
    number: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take the ticks of one conversation."""
        self.frames.append(frame)
        self.rows += frame.height
        if self.rows >= _TICKS_PER_PART:
            self.flush()

    def flush(self) -> None:
        """Write what is there."""
        if self.frames:
            path = self.folder / f"part-{self.number:05d}.parquet"
            to_parquet(pl.concat(self.frames), path)
            self.frames, self.rows, self.number = [], 0, self.number + 1


def write_synthetic_release(
    out: Path | str,
    *,
    conversations: int = 24,
    seed: int = 0,
    readers: Readers | None = None,
    defects: bool = True,
    ticks_per_turn: int = 1200,
) -> Truth:
    """Write a made-up release; the same arguments give the same bytes.

    `out/dataset/` holds the release, `out/truth/` the truth. Readers like one of the two answers
    (pointwise: this answer or the previous one). Where their behaviour speaks for an answer, it
    gets 60 to 72 % of the reading time and, mostly, the last look. Real effects are much smaller.

    With `defects`, all kinds appear from 24 conversations on: doubled_abs_gaze, doubled_upload (a
    batch stands twice in all files of a pointwise task, in the rel files of a pairwise one),
    last_buffer_lost, six_fields, reload, epoch_backwards, line_break_in_window, requoted,
    stray_quote, missing_in_rel, zero_date, crlf_in_llm_name, error_answer, crlf_in_answer,
    blank_lines_in_answer, unlabelled, pointwise_in_odd_task, no_behavior, behavior_without_query,
    duplicated_task, never_done, html_entities, no_consent, duplicated_worker. Windows with
    unescaped quotes and commas are everywhere, as in the real files. Answers that come from
    outside (`readers.texts`) stay as they are given.

    Args:
        out: Folder to make; it must not exist or be empty.
        conversations: How many conversations the query log has.
        seed: Of all randomness.
        readers: What they see, like, do and say; default: `Readers()`.
        defects: Whether to damage the release as the real one is.
        ticks_per_turn: Mean number of ticks per turn, at about 11 ticks per second.

    Returns:
        The truth, which `read_truth(out)` reads back.

    Raises:
        ConfigError: A number is out of its range, or a function of `readers` gives what cannot be
            used.
        OutputError: `out` is taken or cannot be written.
    """
    out = Path(out)
    readers = readers or Readers()
    settings: dict[str, Any] = {
        "conversations": conversations,
        "seed": seed,
        **readers.described(),
        "defects": defects,
        "ticks_per_turn": ticks_per_turn,
    }
    _check(settings)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(
            f"{out}: exists already; expected a new or empty folder. Name another one or remove it."
        )
    with whole_folder(out) as aside:
        truth = _write(aside, settings, readers)
    truth.folder = out / FOLDER
    return truth


def _check(settings: dict[str, Any]) -> None:
    """Check the ranges of the arguments."""
    for name, low in (("conversations", 1), ("ticks_per_turn", 100), ("seed", 0)):
        if settings.get(name, low) < low:
            raise ConfigError(
                f"{name} is {settings[name]}; expected {low} or more. Change the argument."
            )


def count_turns(
    conversations: int, *, seed: int = 0, readers: Readers | None = None, defects: bool = True
) -> int:
    """Return how many turns a release of `write_synthetic_release` asks `readers.texts` for.

    Raises:
        ConfigError: A number is out of its range.
    """
    return len(readers_of_turns(conversations, seed=seed, readers=readers, defects=defects))


def readers_of_turns(
    conversations: int, *, seed: int = 0, readers: Readers | None = None, defects: bool = True
) -> list[str]:
    """Return the `user_id` of each turn, in the order in which `readers.texts` is asked.

    Raises:
        ConfigError: A number is out of its range.
    """
    settings = {"conversations": conversations, "seed": seed, "defects": defects}
    _check(settings)
    planned, extra = _plan(settings, readers or Readers())
    return [c.user.user_id for c in [*planned, *extra] for _ in c.query_ids]


def _plan(
    settings: dict[str, Any], readers: Readers
) -> tuple[list[Conversation], list[Conversation]]:
    """Plan the conversations of the query log, and those that have behaviour alone."""
    rng = np.random.default_rng([_PLAN_SEED, settings["seed"]])
    planned = story.plan_conversations(
        rng, settings["conversations"], pairwise_only=readers.pairwise_only
    )
    extra = story.plan_defects(rng, planned) if settings["defects"] else []
    if readers.texts is not None:
        for conversation in planned:
            conversation.defects -= story.OF_ANSWERS
    return planned, extra


def _write(out: Path, settings: dict[str, Any], readers: Readers) -> Truth:
    """Write release and truth into `out`."""
    seed, damaged = settings["seed"], settings["defects"]
    first_turn = 0
    (out / "dataset" / "user_behavior").mkdir(parents=True)
    (out / FOLDER / "ticks").mkdir(parents=True)
    planned, extra = _plan(settings, readers)
    parts = _Parts(out / FOLDER / "ticks")
    turn_rows: list[dict[str, Any]] = []
    found: list[Defect] = []
    dataset = out / "dataset"
    with (
        tables.csv_table(dataset, QUERY_LOGS) as queries,
        tables.csv_table(dataset, TASK_TABLE) as tasks,
    ):
        for conversation in [*planned, *extra]:
            rng = np.random.default_rng([seed, conversation.index])
            clicks = np.random.default_rng([_CLICK_SEED, seed, conversation.index])
            topic = texts.TOPICS[int(rng.integers(len(texts.TOPICS)))]
            turns = story.write_turns(rng, clicks, conversation, topic, readers, first_turn)
            first_turn += len(turns)
            recording = simulate(
                rng,
                conversation.screen,
                topic,
                [turn.plan for turn in turns],
                conversation.user.habit,
                ticks_per_turn=settings["ticks_per_turn"],
                epoch_start_ms=round(conversation.start.timestamp() * 1000),
                reload_after=1 if story.RELOAD in conversation.defects else None,
            )
            in_log = story.NO_QUERY not in conversation.defects
            found += _conversation_defects(conversation)
            if in_log:
                rows, more = tables.query_rows(rng, conversation, turns, recording.arrived_epoch_ms)
                queries.writerows(rows)
                end = dt.datetime.fromtimestamp(int(recording.epoch_ms[-1]) / 1000, dt.UTC)
                done = end + dt.timedelta(seconds=90)
                task, again = tables.task_rows(
                    rng, conversation, topic, turns, done, with_defects=damaged
                )
                tasks.writerows(task)
                found += more + again
            recorded = story.NO_BEHAVIOR not in conversation.defects
            if recorded:
                user, task_id = conversation.user.user_id, str(conversation.task_id)
                written = write_behavior(
                    dataset / "user_behavior" / user / task_id,
                    recording,
                    conversation.sides,
                    conversation.defects,
                    rng,
                    as_served=damaged,
                )
                parts.add(_tick_truth(conversation, recording, written, in_log))
                found += _file_defects(conversation, written)
            if in_log:
                turn_rows += _turn_truth(conversation, turns, recording, recorded)
    parts.flush()
    rng = np.random.default_rng([_PLAN_SEED, seed, 1])
    users = list({c.user.user_id: c.user for c in planned}.values())
    rows, more = tables.worker_rows(rng, users, with_defects=damaged)
    with tables.csv_table(dataset, RECORD_INFO) as workers:
        workers.writerows(rows)
    turns_frame = pl.DataFrame(turn_rows, infer_schema_length=None)
    truth = Truth(out / FOLDER, settings, turns_frame, found + more)
    truth.save()
    return truth


def _conversation_defects(conversation: Conversation) -> list[Defect]:
    """List the defects that concern a conversation as a whole."""
    key = conversation.conversation_id
    whole = (
        (story.NO_BEHAVIOR, "user_behavior"),
        (story.NO_QUERY, QUERY_LOGS),
        (story.ODD_POINTWISE, f"{QUERY_LOGS}:task_id"),
    )
    return [Defect(kind, key, place, 1) for kind, place in whole if kind in conversation.defects]


def _file_defects(conversation: Conversation, written: Written) -> list[Defect]:
    """List the defects of the behaviour files, as they were counted while writing."""
    key = conversation.conversation_id
    found = [
        Defect(kind, key, place, count)
        for kind, places in written.counts.items()
        for place, count in places.items()
        if count
    ]
    if written.lost:
        found.append(Defect("last_buffer_lost", key, "user_behavior", written.lost))
    if story.SIX_FIELDS in conversation.defects:
        found.append(Defect(story.SIX_FIELDS, key, "rel", len(written.order)))
    if story.RELOAD in conversation.defects:
        found.append(Defect(story.RELOAD, key, "user_behavior", 1))
    return found


def _turn_truth(
    conversation: Conversation, turns: list[StoryTurn], recording: Recording, recorded: bool
) -> list[dict[str, Any]]:
    """Return what is true of each turn."""
    paired = conversation.sides == 2
    rows = []
    for k, (turn, query_id) in enumerate(zip(turns, conversation.query_ids, strict=True)):
        rows.append(
            {
                "conversation_id": conversation.conversation_id,
                "user_id": conversation.user.user_id,
                "task_id": conversation.task_id,
                "turn": k + 1,
                "query_id": query_id,
                "kind": conversation.kind,
                "layout": conversation.screen.layout,
                "liked": turn.liked if paired or k else None,
                "liking_b": turn.liking_b if paired or k else None,
                "behavior_points_to": turn.points_to,
                "click": turn.click,
                "click_is_mistake": turn.mistake,
                "longer": turn.longer,
                "likert_a": turn.likert[0] if turn.likert else None,
                "likert_b": turn.likert[1] if len(turn.likert) > 1 else None,
                "has_behavior": recorded,
                "arrived_epoch_ms": recording.arrived_epoch_ms[k],
                # On a page clock that goes on over a reload.
                "arrived_ms": recording.arrived_ms[k],
                "rating_ms": recording.rating_ms[k],
                "submitted_ms": recording.submit_ms[k],
            }
        )
    return rows


def _tick_truth(
    conversation: Conversation, recording: Recording, written: Written, in_log: bool
) -> pl.DataFrame:
    """Return what is true of each uploaded tick, in file order.

    Surfaces are those of the page, whether the files show them or not; sides are those of the
    element that the files give a position in. Where no question is in the log, nothing is said of
    turns, phases and characters.
    """
    order = written.order
    n = len(order)
    turn = recording.turn[order] if in_log else np.full(n, -1)
    phase = recording.phase[order] if in_log else np.full(n, -1)
    ids = np.array([*conversation.query_ids, -1])

    def optional(values: Any, missing: Any) -> pl.Series:
        return pl.Series(values).set(pl.Series(missing), None)

    def char(values: Any) -> pl.Series:
        return optional(values[order].astype(np.int32), (values[order] < 0) | (not in_log))

    def enum(values: Any, kind: pl.Enum) -> pl.Series:
        return pl.Series(values[order].astype(np.uint8)).cat.to(kind)

    idle = recording.mouse_idle_ms[order]
    return pl.DataFrame(
        {
            "conversation_id": pl.repeat(
                conversation.conversation_id, n, dtype=pl.String, eager=True
            ),
            "file_row": np.arange(n, dtype=np.int32),
            "page_load": recording.page_load[order].astype(np.int16),
            "t_ms": written.t_ms,
            "epoch_ms": recording.epoch_ms[order],
            "query_id": optional(ids[turn], turn < 0),
            "turn": optional((turn + 1).astype(np.int16), turn < 0),
            "phase": optional(np.maximum(phase, 0).astype(np.uint8), phase < 0).cat.to(PHASE),
            "look_on": enum(recording.look_on, SIDE),
            "look_char": char(recording.look_char),
            "gaze_on": enum(recording.gaze.on, SIDE),
            "gaze_char": char(recording.gaze.char),
            "gaze_surface": enum(recording.gaze.surface, SURFACE),
            "mouse_on": enum(recording.mouse.on, SIDE),
            "mouse_char": char(recording.mouse.char),
            "mouse_surface": enum(recording.mouse.surface, SURFACE),
            "mouse_idle_ms": optional(idle.astype(np.float32), np.isnan(idle)),
            "in_rel": written.in_rel,
        }
    )
