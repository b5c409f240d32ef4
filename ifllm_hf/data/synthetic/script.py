"""What a made-up reader does when: typing, waiting, reading, rating, on the page clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ifllm_hf.data.synthetic import page
from ifllm_hf.data.synthetic.page import Layout, Screen

LEAVE_MS = 700.0  # from the last look at the answers to the rating form


@dataclass
class Habit:
    """How one reader behaves."""

    follows: float  # share of pointer moves that go to where the eyes are
    noise_px: float
    left_first: float
    pace: float
    camera_lost: float


@dataclass
class TurnPlan:
    """What the simulation needs to know of one turn."""

    layouts: Sequence[Layout]
    points_to: int  # side that the behaviour speaks for; pointwise: 0 liked, 1 not
    likert: Sequence[int]
    click: str | None  # which answer they say was better, None: no rating given
    choose: bool  # whether a preference is asked for


@dataclass
class Script:
    """The plan of a session: segments of attention and moves of pointer and page."""

    now: float
    starts: list[float] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    attributes: list[tuple[int, int, int, float, float]] = field(default_factory=list)
    moves: list[tuple[float, float, float, float]] = field(default_factory=list)
    scrolls: list[tuple[float, float]] = field(default_factory=list)

    def segment(
        self,
        kind: str,
        ms: float,
        turn: int,
        shown: int,
        side: int = -1,
        span: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Append a segment; `span` is what part of the answer of `side` is read in it."""
        self.starts.append(self.now)
        self.kinds.append(kind)
        self.attributes.append((turn, shown, side, *span))
        self.now += ms

    def move(self, at: float, x_px: float, y_px: float, ms: float = 350.0) -> None:
        """Let the pointer arrive at a place at a time, after a move of `ms`."""
        self.moves.append((at, x_px, y_px, ms))

    def scroll(self, at: float, to: float, ms: float) -> None:
        """Scroll the page to a place between `at` and `at + ms`."""
        last = self.scrolls[-1][1] if self.scrolls else 0.0
        self.scrolls += [(at, last), (at + ms, to)]


def plan_visits(
    rng: np.random.Generator, sides: int, points_to: int, left_first: float, total_ms: float
) -> list[tuple[int, float, float, float]]:
    """Divide the reading time: (side, ms, first and last share of the answer that is read).

    The side that the behaviour speaks for gets 60 to 72 % of the time and, mostly, the last look.
    """
    if sides == 1:
        # Pointwise: an answer they like is read twice, the other is skimmed.
        reach = float(rng.uniform(0.85, 1.0)) if points_to == 0 else float(rng.uniform(0.4, 0.7))
        if points_to == 0:
            return [(0, 0.65 * total_ms, 0.0, reach), (0, 0.35 * total_ms, 0.2, 0.8)]
        return [(0, total_ms, 0.0, reach)]
    ours, other = points_to, 1 - points_to
    ours_ms = float(rng.uniform(0.60, 0.72)) * total_ms
    other_ms = total_ms - ours_ms
    reach, reach_other = rng.uniform(0.75, 1.0, 2).tolist()
    first = 0 if rng.random() < left_first else 1
    last = ours if rng.random() < 0.9 else other
    if first == ours and last == ours:
        return [
            (ours, 0.6 * ours_ms, 0.0, reach),
            (other, other_ms, 0.0, reach_other),
            (ours, 0.4 * ours_ms, 0.3, reach),
        ]
    if first == ours:
        return [(ours, ours_ms, 0.0, reach), (other, other_ms, 0.0, reach_other)]
    if last == ours:
        return [(other, other_ms, 0.0, reach_other), (ours, ours_ms, 0.0, reach)]
    return [
        (other, 0.6 * other_ms, 0.0, reach_other),
        (ours, ours_ms, 0.0, reach),
        (other, 0.4 * other_ms, 0.4, reach_other),
    ]


def write_script(
    rng: np.random.Generator,
    screen: Screen,
    turns: Sequence[TurnPlan],
    habit: Habit,
    turn_ms: float,
) -> tuple[Script, dict[str, list[float]]]:
    """Lay out the session on the page clock."""
    script = Script(now=float(rng.uniform(2500, 12000)))
    script.scrolls.append((0.0, 0.0))
    marks: dict[str, list[float]] = {"arrive": [], "leave": [], "submit": []}
    keeps_old = rng.random() < 0.5  # whether the old answer stays while the next one is awaited
    width, input_y = screen.width, screen.top_px - 30.0

    def ask(turn: int, shown: int) -> None:
        """Type a question and wait for its answers."""
        script.move(script.now + rng.uniform(300, 900), 0.22 * width, input_y)
        script.segment("type", 0.16 * turn_ms * rng.uniform(0.6, 1.4), turn, shown)
        script.move(script.now - 150, 0.95 * width, input_y)
        wait_shown = shown if keeps_old else -1
        script.segment("wait", 0.12 * turn_ms * rng.uniform(0.6, 1.4), turn, wait_shown)

    ask(-1, -1)
    for k, plan in enumerate(turns):
        marks["arrive"].append(script.now)
        reading_ms = 0.5 * turn_ms * habit.pace * float(rng.lognormal(0, 0.25))
        if screen.sides == 1:
            reading_ms *= 1.2 if plan.points_to == 0 else 0.8
        visits = plan_visits(rng, screen.sides, plan.points_to, habit.left_first, reading_ms)
        for side, ms, first, last in visits:
            script.segment("read", ms, k, k, side, (first, last))
        _rate(rng, script, screen, k, plan, marks, turn_ms)
        if k + 1 < len(turns):
            ask(k, k)
        else:
            script.segment("type", 3000.0, k, k)
    return script, marks


def _rate(
    rng: np.random.Generator,
    script: Script,
    screen: Screen,
    k: int,
    plan: TurnPlan,
    marks: dict[str, list[float]],
    turn_ms: float,
) -> None:
    """Go below the answers and fill in the form."""
    marks["leave"].append(script.now)
    script.scroll(script.now, screen.rating_scroll_px, 450.0)
    script.segment("leave", LEAVE_MS, k, k)
    form_y = screen.top_px + screen.box_px - screen.rating_scroll_px
    stops: list[tuple[int, float]] = []
    if plan.click is not None or not plan.choose:
        places = [page.FORM[page.LIKERT_A].labels[v][1] for v in plan.likert]
        stops = list(zip((page.LIKERT_A, page.LIKERT_B), places, strict=False))
        if len(stops) == 2 and rng.random() < 0.2:
            stops.reverse()
        if plan.choose and plan.click is not None:
            at = page.CHOICE_X[plan.click] if screen.sides == 2 else 0.52
            stops.append((page.CHOICE, at))
    stops.append((page.NEXT, page.FORM[page.NEXT].labels[0][1]))
    for number, (row, at) in enumerate(stops):
        x = at * screen.width + rng.normal(0, 5)
        y = form_y + page.FORM[row].below_px + rng.normal(0, 4)
        script.move(script.now + (0.0 if number == 0 else 400.0), x, y, 400.0)
        stay = max(700.0, float(rng.uniform(0.01, 0.03)) * turn_ms)
        script.segment("rate", stay, k, k, -1, (x, y))
    marks["submit"].append(script.now)
    script.scroll(script.now, 0.0, 300.0)
