"""Made-up session files, written as the Space writes them, with known truth.

The reader of a session looks longer at the answer that they will prefer. Answers hold emoji, so
that offsets in UTF-16 and in code points differ; the tab is hidden for a while, the page is
reloaded in the middle of a turn, and the pointer goes to the rating controls and back.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ifllm_hf.data.synthetic.texts import make_answer, make_prompt

ORIGIN_MS = 1_790_000_000_000.0
_STEP_MS = 50.0


@dataclass(frozen=True)
class TrueTick:
    """What one event should become.

    Attributes:
        channel: mouse, gaze, or view for a scroll or visible range.
        turn: Number of the turn.
        on: none, a or b.
        char: Code point of the stored answer; None off the answers or too far from a glyph.
        phase: reading, rating or after.
        page_load: Number of the page load.
        t_ms: Page clock less hidden time.
        view: The columns of `schema.VIEW_COLUMNS` that are not null.
    """

    channel: str
    turn: int
    on: str
    char: int | None
    phase: str
    page_load: int
    t_ms: float
    view: dict[str, float] = field(default_factory=dict)


@dataclass
class TrueSession:
    """A session that was written, and what is true of it.

    Attributes:
        path: Its file.
        session_id: Its id.
        preferences: By turn: a, b or tie.
        answers: By turn, the sources of a and b.
        ticks: In the order in which they should come out.
    """

    path: Path
    session_id: str
    preferences: dict[int, str] = field(default_factory=dict)
    answers: dict[int, tuple[str, ...]] = field(default_factory=dict)
    ticks: list[TrueTick] = field(default_factory=list)


def write_session(
    folder: Path,
    seed: int,
    *,
    turns: int = 2,
    kind: str = "pairwise",
    gaze: bool = True,
    steps: int = 60,
) -> TrueSession:
    """Write one session.

    Args:
        folder: Where to; it is made.
        seed: Of everything in it, the id too.
        turns: How many questions.
        kind: pairwise or pointwise.
        gaze: Whether there is a webcam.
        steps: Pointer events while reading, per turn.
    """
    rng = np.random.default_rng(seed)
    session_id = "s_" + base64.urlsafe_b64encode(rng.bytes(16)).decode().rstrip("=")
    folder.mkdir(parents=True, exist_ok=True)
    truth = TrueSession(folder / f"{session_id}.jsonl", session_id)
    started_ms = ORIGIN_MS + seed * 3_600_000.0  # an hour after the one before
    writer = _SessionWriter(truth, rng, started_ms)
    writer.line(
        type="session",
        v=2,
        session_id=session_id,
        created_epoch_ms=started_ms,
        consent={
            "version": "made-up",
            "text_sha256": "0" * 64,
            "adult": True,
            "at_epoch_ms": started_ms,
        },
        demographics={"age": "25-34", "education": None, "gender": None},
        client={},
        versions={"made_up": "1"},
    )
    if gaze:
        writer.line(
            type="calibration",
            when="before",
            provider="scripted",
            version="1",
            at_epoch_ms=started_ms,
            mean_px=120.0,
            share_within_200_px=0.9,
            samples_per_s=20.0,
            viewport=[1200, 800],
        )
    for turn in range(turns):
        _write_turn(writer, turn, kind, gaze, steps)
    writer.send()
    writer.line(type="end", at_epoch_ms=writer.origin_ms + writer.now_ms, reason="finished")
    return truth


def write_sessions(folder: Path, count: int, seed: int = 0, **settings: Any) -> list[TrueSession]:
    """Write so many sessions; see `write_session`."""
    return [write_session(folder, seed * 10_000 + i, **settings) for i in range(count)]


class _SessionWriter:
    """Appends lines; gathers events into batches."""

    def __init__(self, truth: TrueSession, rng: np.random.Generator, started_ms: float) -> None:
        self.truth = truth
        self.rng = rng
        self.tab = "tab00000"
        self.load = 0
        self.origin_ms = started_ms
        self.now_ms = 0.0  # of the page load
        self.hidden_ms = 0.0
        self._seq = 0
        self._events: list[list[Any]] = []

    def line(self, **record: Any) -> None:
        with open(self.truth.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def event(self, kind: str, *values: Any) -> None:
        self._events.append([kind, round(self.now_ms, 1), *values])
        if len(self._events) >= 100:
            self.send()

    def send(self) -> None:
        if self._events:
            self.line(
                type="batch",
                tab=self.tab,
                seq=self._seq,
                origin_epoch_ms=self.origin_ms,
                sent_epoch_ms=self.origin_ms + self.now_ms,
                received_epoch_ms=self.origin_ms + self.now_ms + 5,
                events=self._events,
            )
            self._seq += 1
            self._events = []

    def reload(self) -> None:
        self.send()
        self.origin_ms += self.now_ms + 800
        self.load += 1
        self.tab = f"tab{self.load:05d}"
        self.now_ms, self.hidden_ms, self._seq = 0.0, 0.0, 0

    def hide(self, ms: float) -> None:
        self.event("v", "hidden")
        self.now_ms += ms
        self.hidden_ms += ms
        self.event("v", "visible")

    def tick(self, channel: str, turn: int, on: str, char: int | None, phase: str) -> None:
        """Write a pointer or gaze event; `char` counts code points."""
        x, y = np.round(self.rng.uniform(0, 900, 2), 1).tolist()
        if on == "none":
            place: list[Any] = [None, x, y, None, None, None, None]
        else:
            text = self.truth.answers[turn][on == "b"]
            box, distance = on.upper(), 0.0
            if char is None:  # in the empty part of the box: the nearest glyph is far away
                offset, distance = 0, 300.0
            else:
                offset = len(text[:char].encode("utf-16-le")) // 2
            place = [box, x, y, round(x / 2, 1), round(y / 2, 1), offset, distance]
        last = [0, "mouse"] if channel == "mouse" else [1, 30.0]
        self.event("p" if channel == "mouse" else "g", turn, *place, *last)
        self._true(TrueTick(channel, turn, on, char, phase, self.load, self._page_ms()))

    def scroll(self, turn: int, target: str, y_px: float) -> None:
        """Write a scroll event of the page (`window`) or of an answer (`a`, `b`)."""
        column = "scroll_y_px" if target == "window" else f"scroll_y_px_{target}"
        self.event("s", target.upper() if target != "window" else target, y_px, 0)
        self._true(self._view(turn, {column: y_px}))

    def show(self, turn: int, side: str, first: int, end: int) -> None:
        """Write that code points first to end (exclusive) of an answer are on screen."""
        text = self.truth.answers[turn][side == "b"]
        units = [len(text[:k].encode("utf-16-le")) // 2 for k in (first, end)]
        shown = [units[0], units[1] - 1] if end > first else [None, None]
        self.event("w", turn, side.upper(), *shown)
        columns = {f"visible_from_char_{side}": float(first), f"visible_to_char_{side}": float(end)}
        self._true(self._view(turn, columns))

    def _view(self, turn: int, columns: dict[str, float]) -> TrueTick:
        on_page = self._page_ms()
        return TrueTick("view", turn, "none", None, "reading", self.load, on_page, columns)

    def _page_ms(self) -> float:
        return round(self.now_ms, 1) - self.hidden_ms

    def _true(self, tick: TrueTick) -> None:
        self.truth.ticks.append(tick)
        self.now_ms += _STEP_MS


def _write_turn(writer: _SessionWriter, turn: int, kind: str, gaze: bool, steps: int) -> None:
    rng, truth = writer.rng, writer.truth
    sides = ("a", "b") if kind == "pairwise" else ("a",)
    answers = tuple("🙂 " + make_answer(rng, 300, bullets=False) for _ in sides)
    truth.answers[turn] = answers
    liked = str(rng.choice(sides))
    writer.line(
        type="turn",
        turn=turn,
        kind=kind,
        question=make_prompt(rng, "maps"),
        responses=[
            {"box": s.upper(), "source": t, "model": f"made-up-{s}", "parameters": {}}
            for s, t in zip(sides, answers, strict=True)
        ],
        side_swapped=bool(rng.integers(2)),
        asked_epoch_ms=writer.origin_ms + writer.now_ms,
    )
    writer.event("e", "shown", {"turn": turn})
    # A control appears under the pointer, which rests where the question was sent: no rating yet.
    writer.event("r", turn, "enter", "submit", None, "pointer")
    writer.event("r", turn, "leave", "submit", None, "pointer")
    for side in sides:
        writer.show(turn, side, 0, len(answers[side == "b"]) // 2)
    for step in range(steps):
        if step == steps // 4:
            writer.scroll(turn, "window", 40.0)
            writer.scroll(turn, "a", 80.0)
            writer.show(turn, "a", 1, len(answers[0]))
        on = str(rng.choice(["none", *sides], p=_weights(sides, liked)))
        char = None if on == "none" else int(rng.integers(len(answers[on == "b"])))
        if on != "none" and rng.random() < 0.05:
            char = None
        channel = "gaze" if gaze and rng.random() < 0.5 else "mouse"
        writer.tick(channel, turn, on, char, "reading")
        if step == steps // 3:
            writer.hide(3000.0)
        if step == steps // 2 and turn == 0:
            writer.reload()
    controls = ["likert_a", "likert_b", "preference"] if kind == "pairwise" else ["likert_a"]
    for control in controls:
        writer.event("r", turn, "enter", control, None, "pointer")
        writer.tick("mouse", turn, "none", None, "rating")
        writer.event("r", turn, "choose", control, "3", "pointer")
        writer.event("r", turn, "leave", control, None, "pointer")
        # Looking back at an answer between two clicks is no longer reading.
        writer.tick("mouse", turn, "a", 0, "rating")
    writer.event("r", turn, "choose", "submit", None, "pointer")
    writer.tick("mouse", turn, "none", None, "after")
    likert = {side.upper(): 5 if side == liked else 2 for side in sides}
    writer.line(
        type="rating",
        turn=turn,
        likert=likert,
        preference=liked if kind == "pairwise" else None,
        better_than_previous=None if kind == "pairwise" or turn == 0 else bool(rng.integers(2)),
        at_epoch_ms=writer.origin_ms + writer.now_ms,
    )
    truth.preferences[turn] = liked


def _weights(sides: tuple[str, ...], liked: str) -> list[float]:
    """Return shares of the time: off the answers, then on each side."""
    if len(sides) == 1:
        return [0.2, 0.8]
    return [0.2, *(0.55 if side == liked else 0.25 for side in sides)]
