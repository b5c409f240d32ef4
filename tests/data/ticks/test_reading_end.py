"""`reading` ends before the pointer comes to the rating widget, whatever is clicked there."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.data.ticks.alignment import TurnText, align
from ifllm_hf.data.ticks.merge import Channel
from ifllm_hf.data.ticks.reading_end import (
    AFTER,
    FALLBACK,
    FOUND,
    LIKERT_COLUMNS,
    PITCH_SHORT_PX,
    PREFERENCE_COLUMNS,
    RATING,
    READING,
    Phases,
    _still_runs,
    find_phases,
    page_geometry,
)
from tests.helpers import hand_made as made

ANSWERS = tuple(" ".join(f"{side}{i:03}" for i in range(200)) for side in ("left", "right"))
NOWHERE = made.NOWHERE
LIKERT = tuple(enumerate(LIKERT_COLUMNS))


@dataclass
class Session:
    """A reader's pointer and gaze on a page, 100 ms per tick."""

    width: float = 1500.0
    kind: str = "pairwise"
    answers: tuple[str, ...] = ANSWERS
    mouse: list[tuple[float, float, Any]] = field(default_factory=list)
    gaze: list[tuple[float, float, Any]] = field(default_factory=list)
    turn: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def left(self, side: str) -> float:
        return 20.0 if side == "a" else 20.0 + self.width / 2 - PITCH_SHORT_PX

    @property
    def sides(self) -> str:
        return "ab" if self.kind == "pairwise" else "a"

    def on_text(self, side: str, step: int, turn: int = 0) -> tuple[float, float, Any]:
        caret = 30 + 7 * (step % 60)
        x = self.left(side) + 15 + 9 * (step % 37)
        spot = made.look_at(side, self.answer(turn)["ab".index(side)], caret)
        return x, 330.0 + 5 * (step % 41), spot

    def answer(self, turn: int) -> tuple[str, ...]:
        return tuple(f"turn{turn} " + a.replace(" ", f"{turn} ") for a in self.answers)

    def read(self, ticks: int = 60, turn: int = 0, *, mouse: bool = True) -> None:
        """Read both answers, the pointer going along, and rest on the text at the end."""
        if len(self.starts) == turn:
            self.starts.append(len(self.mouse))
        for i in range(ticks):
            side = self.sides[i // 5 % len(self.sides)]
            at = self.on_text(side, min(i, ticks - 4), turn)
            self.gaze.append(self.on_text(side, i, turn))
            self.mouse.append(at if mouse else (np.nan, np.nan, NOWHERE))

    def rest(self, x: float, y: float, ticks: int = 5, *, way: int = 3, spot: Any = NOWHERE) -> int:
        """Move to a place in `way` ticks and stay; return the tick at which it set off."""
        begin = max(0, len(self.mouse) - 1)
        x0, y0 = (self.mouse[-1][0], self.mouse[-1][1]) if self.mouse else (0.0, 0.0)
        for i in range(1, way + 1):
            share = i / (way + 1)
            self.mouse.append((x0 + share * (x - x0) + 3, y0 + share * (y - y0), NOWHERE))
        self.mouse += [(x, y, spot)] * ticks
        self.gaze += [(x, y, NOWHERE)] * (way + ticks)
        return begin

    def rate(
        self, left: int = 3, right: int = 2, choice: int | None = 0, y: float = 700.0, **how: Any
    ) -> int:
        """Click the ratings; return the tick at which the pointer set off."""
        begin = self.rest(LIKERT_COLUMNS[left] * self.width, y, **how)
        if self.kind == "pairwise":
            self.rest(LIKERT_COLUMNS[right] * self.width, y + 60, **how)
            if choice is not None:
                self.rest(PREFERENCE_COLUMNS[choice] * self.width, y + 160, **how)
        return begin

    def leave(self, ticks: int = 10) -> int:
        """Go back up to the question."""
        return self.rest(0.1 * self.width, 120.0, ticks)

    def phases(self) -> Phases:
        assert len(self.mouse) == len(self.gaze)
        ticks = made.ticks(self.channel(self.gaze), self.channel(self.mouse), kind=self.kind)
        turns = [
            TurnText(self.answer(k)[: len(self.sides)], 100.0 * at)
            for k, at in enumerate(self.starts)
        ]
        aligned = align(ticks, turns)
        self.turn = aligned.turn.tolist()
        return find_phases(ticks, aligned, len(turns))

    def channel(self, places: list[tuple[float, float, Any]]) -> Channel:
        x, y, spots = zip(*places, strict=True)
        found: Channel = made.channel(spots, x, y, {side: self.left(side) for side in self.sides})
        return found


def in_order(phase: np.ndarray) -> bool:
    return bool((np.diff(phase) >= 0).all())


@pytest.mark.parametrize("width", [1054.0, 1280.0, 1366.0, 1536.0, 1920.0, 2560.0])
@pytest.mark.parametrize(("left", "right"), [(0, 4), (4, 0), (2, 2), (3, 3)])
def test_reading_ends_where_the_way_to_the_ratings_begins(
    width: float, left: int, right: int
) -> None:
    session = Session(width)
    session.read()
    begin = session.rate(left, right)
    last = len(session.mouse)
    session.leave()
    phases = session.phases()
    assert phases.source == [FOUND]
    assert phases.geometry is not None
    assert phases.geometry.width_px == pytest.approx(width)
    expected = [READING] * begin + [RATING] * (last - begin) + [AFTER] * (len(session.mouse) - last)
    assert phases.phase.tolist() == expected


def test_what_is_clicked_changes_nothing() -> None:
    readings = []
    for left in range(5):
        for right in range(5):
            for choice in (0, 1):
                session = Session()
                session.read()
                session.rate(left, right, choice)
                session.leave()
                phase = session.phases().phase
                readings.append((phase == READING).tolist())
    assert all(reading == readings[0] for reading in readings)
    names = set(inspect.signature(find_phases).parameters)
    assert names == {"ticks", "aligned", "n_turns"}  # no label goes in


def test_the_right_answer_rated_first() -> None:
    session = Session()
    session.read()
    begin = session.rest(LIKERT_COLUMNS[1] * 1500, 760)
    session.rest(LIKERT_COLUMNS[3] * 1500, 700)
    session.rest(PREFERENCE_COLUMNS[1] * 1500, 860)
    phases = session.phases()
    assert phases.source == [FOUND]
    assert (phases.phase[:begin] == READING).all()
    assert (phases.phase[begin:] == RATING).all()


@pytest.mark.parametrize("rows", ["two likert", "likert and preference"])
def test_two_rows_are_enough(rows: str) -> None:
    session = Session()
    session.read()
    begin = session.rest(LIKERT_COLUMNS[3] * 1500, 700)
    if rows == "two likert":
        session.rest(LIKERT_COLUMNS[2] * 1500, 760)
    else:
        session.rest(PREFERENCE_COLUMNS[1] * 1500, 860)
    phases = session.phases()
    assert phases.source == [FOUND]
    assert phases.phase.tolist() == [READING] * begin + [RATING] * (len(session.mouse) - begin)


def test_a_series_of_three_decides_over_an_earlier_one_of_two() -> None:
    session = Session()
    session.read()
    session.rest(LIKERT_COLUMNS[3] * 1500, 700)
    session.rest(LIKERT_COLUMNS[2] * 1500, 760)
    session.read(100)
    begin = session.rate()
    phases = session.phases()
    assert phases.source == [FOUND]
    assert (phases.phase == READING).nonzero()[0].tolist() == list(range(begin))


@pytest.mark.parametrize(
    ("t_ms", "rests"),
    [
        ([0, 30, 60, 90, 120], []),  # still for 60 ms
        ([0, 30, 80, 130, 200], [(1, 3)]),  # for 100 ms
        ([0, 30, 31, 900, 901], [(1, 3)]),
    ],
)
def test_a_rest_lasts_a_tenth_of_a_second(t_ms: list[float], rests: list[tuple[int, int]]) -> None:
    x = np.array([0.0, 500.0, 501.0, 499.5, 0.0])  # there is a tremor in every hand
    for first, second in ((x, np.zeros(5)), (np.zeros(5), x)):
        found = _still_runs(first, second, np.array(t_ms, dtype=float))
        assert list(zip(*(f.tolist() for f in found), strict=True)) == rests


def test_rests_that_are_no_series_do_not_end_reading() -> None:
    session = Session()
    session.read(30)
    column = LIKERT_COLUMNS[2] * 1500
    session.rest(column, 700)  # once in a column, and never again soon
    session.rest(100, 800)
    session.read(100)
    session.rest(0.3 * 1500, 700)  # in no column
    session.rest(0.8 * 1500, 760)
    session.read(40)
    session.rest(column, 100)  # above the answers
    session.rest(column, 160)
    session.read(40)
    on_a = session.on_text("a", 5)[2]
    session.rest(column, 400, spot=on_a)  # on an answer
    session.rest(column, 460, spot=on_a)
    session.read(40)
    session.rest(column, 700)  # upwards is no way through a form
    session.rest(column, 560)
    session.read(30)
    last = len(session.mouse)
    session.leave()
    phases = session.phases()
    # (A single stop counts only where another turn of the conversation showed how low they are.)
    assert phases.source == [FALLBACK]
    assert phases.phase.tolist() == [READING] * last + [AFTER] * (len(session.mouse) - last)


def test_a_rest_too_long_ago_belongs_to_no_series() -> None:
    session = Session()
    session.read()
    session.rest(LIKERT_COLUMNS[3] * 1500, 700)
    session.read(100)
    begin = session.rate()
    phases = session.phases()
    assert (phases.phase == READING).nonzero()[0].tolist() == list(range(begin))


def test_a_single_stop_as_low_as_in_another_turn() -> None:
    session = Session()
    session.read(turn=0)
    first = session.rate(y=700)
    session.leave()
    session.read(turn=1)
    second = session.rest(LIKERT_COLUMNS[4] * 1500, 690)
    session.rest(100, 500)
    session.leave()
    phases = session.phases()
    assert session.starts == [0, session.turn.index(1)]
    assert phases.source == [FOUND, FOUND]
    phase = np.array(phases.phase)
    for turn, begin in ((0, first), (1, second)):
        rows = np.flatnonzero(np.array(session.turn) == turn)
        assert rows[phase[rows] == READING].tolist() == list(range(rows[0], begin))
        assert in_order(phase[rows])


@pytest.mark.parametrize("width", [1054.0, 1536.0, 2560.0])
@pytest.mark.parametrize(("aside", "found"), [(0.004, True), (0.0145, False), (-0.0145, False)])
def test_between_the_radio_buttons_nothing_is_rated(
    width: float, aside: float, found: bool
) -> None:
    """Two buttons of a row are a twelfth of the page apart; a sixth of that off one is on none."""
    session = Session(width)
    session.read()
    begin = session.rest((LIKERT_COLUMNS[1] + aside) * width, 700)
    session.rest((LIKERT_COLUMNS[3] + aside) * width, 760)
    session.rest((PREFERENCE_COLUMNS[0] + aside) * width, 860)
    phases = session.phases()
    assert phases.source == [FOUND if found else FALLBACK]
    if found:
        assert (phases.phase == READING).nonzero()[0].tolist() == list(range(begin))


@pytest.mark.parametrize(("above_px", "found"), [(-60, True), (15, True), (60, False)])
def test_a_single_stop_above_the_first_row_of_another_turn_is_none(
    above_px: float, found: bool
) -> None:
    """A row of the widget is some 60 px high: what rests a row above all others is no rating."""
    session = Session()
    session.read(turn=0)
    session.rate(y=700)
    session.leave()
    session.read(turn=1)
    session.rest(LIKERT_COLUMNS[4] * 1500, 700 - above_px)
    session.rest(100, 500)
    session.leave()
    assert session.phases().source == [FOUND, FOUND if found else FALLBACK]


def test_nobody_rates_an_answer_that_appeared_a_second_ago() -> None:
    session = Session()
    session.read(8)
    session.rate(ticks=2, way=1)
    assert len(session.mouse) < 20  # two seconds
    session.read(60)
    begin = session.rate()
    phases = session.phases()
    assert phases.source == [FOUND]
    assert (phases.phase == READING).nonzero()[0].tolist() == list(range(begin))


def test_a_rest_half_a_minute_later_is_no_part_of_the_rating() -> None:
    session = Session()
    session.read()
    session.rate()
    last = len(session.mouse)
    session.leave(300)
    session.rest(LIKERT_COLUMNS[2] * 1500, 700)
    phases = session.phases()
    assert (phases.phase[last:] == AFTER).all()
    assert phases.phase[last - 1] == RATING


def test_the_text_of_the_widget_ends_reading() -> None:
    session = Session()
    session.read()
    label = ("a", "Very Satisfied", 8)
    begin = session.rest(1234.0, 700, spot=label)  # in no column
    session.rest(1200.0, 500)
    phases = session.phases()
    assert phases.source == [FOUND]
    assert (phases.phase[:begin] == READING).all()
    assert phases.phase[begin] == RATING
    assert READING not in phases.phase[begin:]


@pytest.mark.parametrize("mouse", [True, False])
def test_without_a_rating_reading_ends_with_the_last_text(mouse: bool) -> None:
    session = Session()
    session.read(mouse=mouse)
    end = len(session.mouse)
    if mouse:
        session.rest(100.0, 120.0, 20)
    else:
        session.mouse += [(np.nan, np.nan, NOWHERE)] * 20
        session.gaze += [(100.0, 120.0, NOWHERE)] * 20
    phases = session.phases()
    assert phases.source == [FALLBACK]
    assert phases.phase.tolist() == [READING] * end + [AFTER] * (len(session.mouse) - end)


def test_waiting_for_the_next_answer_ends_reading() -> None:
    from ifllm_hf.data.ticks.page_texts import PLACEHOLDER

    session = Session()
    session.read()
    end = len(session.mouse)
    waits = (300.0, 400.0, ("a", PLACEHOLDER[20:40].strip(), 30))
    session.mouse += [waits] * 20
    session.gaze += [waits] * 20
    session.read(3)  # a last glance at an answer, by mistake of the tracker
    phases = session.phases()
    assert phases.source == [FALLBACK]
    assert (phases.phase == READING).nonzero()[0].tolist() == list(range(end))


def test_a_turn_in_which_no_text_was_seen_has_no_reading() -> None:
    session = Session()
    session.starts.append(0)
    session.rest(100.0, 120.0, 30)
    phases = session.phases()
    assert phases.geometry is None
    assert phases.source == [FALLBACK]
    assert set(phases.phase.tolist()) == {AFTER}


def test_no_geometry_without_both_answers() -> None:
    session = Session()
    session.read()
    session.mouse = [(x, y, s if s[0] == "a" else NOWHERE) for x, y, s in session.mouse]
    session.gaze = [(x, y, s if s[0] == "a" else NOWHERE) for x, y, s in session.gaze]
    session.rate()
    phases = session.phases()
    assert phases.geometry is None
    assert phases.source == [FALLBACK]
    last = max(i for i, (_, _, s) in enumerate(session.mouse) if s[0] == "a")
    assert (phases.phase == READING).nonzero()[0].tolist() == list(range(last + 1))


def test_ticks_before_the_first_answers_have_no_phase_and_turns_without_ticks_no_source() -> None:
    session = Session()
    session.rest(100.0, 120.0, 30)
    session.read()
    session.starts.append(10**6)  # asked when nothing was recorded any more
    begin = session.rate()
    phases = session.phases()
    assert phases.phase[: session.starts[0]].tolist() == [-1] * session.starts[0]
    assert phases.source == [FOUND, None]
    assert phases.phase[begin] == RATING


def test_no_ticks_and_no_turns() -> None:
    empty = made.ticks([])
    assert find_phases(empty, align(empty, []), 0).phase.shape == (0,)
    some = made.ticks([NOWHERE] * 5)
    phases = find_phases(some, align(some, []), 0)
    assert (phases.phase.tolist(), phases.source, phases.geometry) == ([-1] * 5, [], None)


def test_a_pointwise_page_has_one_row_of_radio_buttons() -> None:
    for column in range(5):
        session = Session(kind="pointwise")
        session.read(120)
        # The width follows from where the text reaches, and from the stops of all turns.
        session.mouse.append((20.0 + 1500.0 - 64.0, 400.0, session.on_text("a", 3)[2]))
        session.gaze.append((20.0 + 1500.0 - 64.0, 400.0, session.on_text("a", 3)[2]))
        session.mouse += [session.mouse[-1]] * 3
        session.gaze += [session.gaze[-1]] * 3
        begin = session.rate(left=column)
        session.leave()
        phases = session.phases()
        assert phases.source == [FOUND], column
        assert phases.geometry is not None
        assert phases.geometry.width_px == pytest.approx(1500, rel=0.025)
        assert (phases.phase == READING).nonzero()[0].tolist() == list(range(begin))


def test_geometry_is_told_from_where_points_fell() -> None:
    session = Session(1366.0)
    session.read(90)
    ticks = made.ticks(session.channel(session.gaze), session.channel(session.mouse))
    aligned = align(ticks, [TurnText(session.answer(0), 0.0)])
    geometry = page_geometry(ticks, aligned)
    assert geometry is not None
    assert geometry.width_px == pytest.approx(1366.0)
    assert geometry.top_px == pytest.approx(330.0, abs=6)


@settings(max_examples=60, deadline=None)
@given(
    width=st.floats(1000, 2600),
    clicks=st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0, 1, None])),
    off_px=st.floats(-6, 6),
    y=st.floats(560, 1200),
    ticks=st.integers(2, 12),
    way=st.integers(1, 8),
    reading=st.integers(60, 140),
    again=st.booleans(),
)
def test_reading_never_holds_a_rating_and_is_not_cut_early(
    width: float, clicks: Any, off_px: float, y: float, ticks: int, way: int, reading: int,
    again: bool,
) -> None:  # fmt: skip
    session = Session(width)
    session.read(reading)
    first = session.rest(LIKERT_COLUMNS[clicks[0]] * width + off_px, y, ticks, way=way)
    session.rest(LIKERT_COLUMNS[clicks[1]] * width - off_px, y + 60, ticks, way=way)
    if clicks[2] is not None:
        session.rest(PREFERENCE_COLUMNS[clicks[2]] * width, y + 150, ticks, way=way)
    if again:
        session.read(30)
    session.leave()
    phases = session.phases()
    assert phases.source == [FOUND]
    read = np.flatnonzero(phases.phase == READING)
    assert in_order(phases.phase)
    assert (
        first - 20 <= read.max() < first
    )  # the way to the first stop counts for two seconds at most
    assert (phases.phase == RATING).any()
