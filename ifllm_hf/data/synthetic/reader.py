"""A made-up reader: where eyes and pointer go, and what the webcam makes of it.

The gaze that is recorded is the true one plus slow and fast noise, and it leaks towards the pointer
by 30 % of the distance while the pointer moves, fading over the following second: the site's webcam
tracker keeps learning from the mouse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ifllm_hf.data.synthetic import page
from ifllm_hf.data.synthetic.observe import ObservedChannel, observe
from ifllm_hf.data.synthetic.page import FloatArray, IntArray, Layout, PageLabels, Screen
from ifllm_hf.data.synthetic.script import LEAVE_MS, Habit, Script, TurnPlan, write_script

TICK_MS = 92.0  # mean interval of the quantiles below
_INTERVAL_SHARE = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.9993, 1.0)
_INTERVAL_MS = (30.0, 39.0, 49.0, 62.0, 74.0, 88.0, 155.0, 337.0, 1000.0, 12000.0)
_LEAK, _LEAK_MS = 0.3, 1000.0
_WHEEL_PX = 100.0
_LINE_MIDDLE = page.LINE_PX / 2

READING, RATING, AFTER = range(3)


@dataclass
class Recording:
    """One conversation's ticks, with what was recorded and what is true."""

    t_ms: FloatArray
    epoch_ms: IntArray
    page_load: IntArray
    gaze_x: FloatArray
    gaze_y: FloatArray
    mouse_x: FloatArray
    mouse_y: FloatArray
    mouse_idle_ms: FloatArray
    camera_ok: IntArray
    gaze: ObservedChannel
    mouse: ObservedChannel
    turn: IntArray  # -1 before the first answer of a page load
    phase: IntArray  # -1 before the first answer of a page load
    look_on: IntArray
    look_char: IntArray
    arrived_ms: list[float]  # page clock, counted on over a reload
    arrived_epoch_ms: list[int]
    rating_ms: list[float]
    submit_ms: list[float]


def simulate(
    rng: np.random.Generator,
    screen: Screen,
    topic: str,
    turns: Sequence[TurnPlan],
    habit: Habit,
    *,
    ticks_per_turn: int,
    epoch_start_ms: int,
    reload_after: int | None = None,
) -> Recording:
    """Simulate one conversation.

    Args:
        rng: Source of randomness.
        screen: The window.
        topic: Heading of the page.
        turns: The turns in order.
        habit: The reader.
        ticks_per_turn: Mean number of ticks per turn.
        epoch_start_ms: When the page was loaded.
        reload_after: Turn (0-based) after whose rating the page is reloaded.

    Returns:
        Every tick of the session, uploaded or not.
    """
    turn_ms = ticks_per_turn * TICK_MS
    script, marks = write_script(rng, screen, turns, habit, turn_ms)
    reload_ms = marks["submit"][reload_after] + 900.0 if reload_after is not None else None
    clock = _tick_times(rng, script.starts[0], script.now, longest_ms=0.1 * turn_ms)
    if reload_ms is not None:
        clock = clock[(clock < reload_ms) | (clock >= reload_ms + 2500.0)]
    n = len(clock)
    segment = np.searchsorted(script.starts, clock, side="right") - 1
    turn, shown, side = (
        np.array([a[i] for a in script.attributes], dtype=np.int64)[segment] for i in range(3)
    )
    load = np.zeros(n, np.int64)
    if reload_ms is not None:
        # A fresh page shows the placeholder, and no turn's answers, until the next ones arrive.
        load[clock >= reload_ms] = 1
        fresh = (clock >= reload_ms) & (turn == reload_after)
        shown[fresh] = turn[fresh] = -1

    placeholder = Layout(page.PLACEHOLDER, screen.columns)
    layouts: dict[int, Sequence[Layout]] = {-1: [placeholder] * screen.sides}
    layouts.update({k: plan.layouts for k, plan in enumerate(turns)})
    scroll_at, scroll_to = np.array(script.scrolls).T
    page_scroll = np.rint(np.interp(clock, scroll_at, scroll_to))
    box_scroll = [np.zeros(n) for _ in range(screen.sides)]
    look_x, look_y, look_char = _look(rng, screen, script, clock, layouts, page_scroll, box_scroll)
    look_on = np.where(look_char >= 0, side + 1, 0)

    _follow(rng, script, clock, look_x, look_y, look_on, screen, habit)
    mouse_x, mouse_y = _pointer(script, clock)
    moved = np.zeros(n, bool)
    moved[1:] = (mouse_x[1:] != mouse_x[:-1]) | (mouse_y[1:] != mouse_y[:-1])
    since = clock - clock[np.maximum.accumulate(np.where(moved, np.arange(n), 0))]
    pull = _LEAK * np.clip(1 - since / _LEAK_MS, 0, 1)
    pull[mouse_x < 0] = 0
    gaze_x = look_x + _noise(rng, n, habit.noise_px) + pull * (mouse_x - look_x)
    gaze_y = look_y + _noise(rng, n, 0.8 * habit.noise_px) + pull * (mouse_y - look_y)
    gaze_x[:2], gaze_y[:2] = 500 + rng.normal(0, 0.3, (2, 2))[:, : min(2, n)]

    labels = PageLabels(screen, topic)
    no_caret = rng.random(n) < 0.004
    mouse_seen = np.where(mouse_x < 0, np.nan, 1.0)
    with np.errstate(invalid="ignore"):
        views = [
            observe(screen, labels, layouts, x, y, page_scroll, box_scroll, shown, no_caret)
            for x, y in ((gaze_x, gaze_y), (mouse_x * mouse_seen, mouse_y * mouse_seen))
        ]

    rating_ms = []
    phase = np.where(turn < 0, -1, READING)
    zone = mouse_y >= screen.top_px - page_scroll + screen.box_px
    for k, leave in enumerate(marks["leave"]):
        candidates = np.flatnonzero((clock >= leave) & (clock < marks["submit"][k]) & zone)
        begin = float(clock[candidates[0]]) if len(candidates) else leave + LEAVE_MS
        rating_ms.append(begin)
        phase[(turn == k) & (clock >= begin)] = RATING
        phase[(turn == k) & (clock >= marks["submit"][k])] = AFTER

    hidden = np.zeros(n)
    if rng.random() < 0.1:  # the tab was hidden for a while: the page clock stands still
        hidden[clock >= marks["submit"][0] + 500] = float(rng.integers(5_000, 40_000))
    epoch = epoch_start_ms + np.rint(clock + hidden).astype(np.int64)
    camera = (rng.random(n) >= habit.camera_lost).astype(np.int64)
    camera[0] = 0
    arrived_at = np.minimum(np.searchsorted(clock, marks["arrive"]), n - 1)
    arrived = epoch_start_ms + np.rint(np.array(marks["arrive"]) + hidden[arrived_at])
    t_ms = clock if reload_ms is None else np.where(load == 1, clock - reload_ms + 600.0, clock)
    return Recording(
        t_ms=t_ms,
        epoch_ms=epoch,
        page_load=load,
        gaze_x=gaze_x,
        gaze_y=gaze_y,
        mouse_x=mouse_x,
        mouse_y=mouse_y,
        mouse_idle_ms=np.where(mouse_x < 0, np.nan, since),
        camera_ok=camera,
        gaze=views[0],
        mouse=views[1],
        turn=turn,
        phase=phase,
        look_on=look_on,
        look_char=look_char,
        arrived_ms=marks["arrive"],
        arrived_epoch_ms=arrived.astype(np.int64).tolist(),
        rating_ms=rating_ms,
        submit_ms=marks["submit"],
    )


def _tick_times(
    rng: np.random.Generator, start: float, end: float, *, longest_ms: float
) -> FloatArray:
    """Draw the irregular instants of the webcam tracker, on the browser's grid of 0.1 ms."""
    speed = float(rng.choice([0.85, 1.0, 1.0, 1.25]))
    draws = rng.random(int((end - start) / 40) + 50)
    steps = np.interp(draws, _INTERVAL_SHARE, _INTERVAL_MS) * speed
    steps = np.minimum(steps, max(1000.0, longest_ms))
    clock = np.round(start + np.cumsum(steps), 1)
    return clock[clock < end]


def _look(
    rng: np.random.Generator,
    screen: Screen,
    script: Script,
    clock: FloatArray,
    layouts: dict[int, Sequence[Layout]],
    page_scroll: FloatArray,
    box_scroll: list[FloatArray],
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Place the eyes; fills `box_scroll`, which follows the line that is read."""
    n = len(clock)
    x, y = np.zeros(n), np.zeros(n)
    char = np.full(n, -1)
    edges = np.searchsorted(clock, [*script.starts, np.inf])
    scrolled = [0.0] * screen.sides
    was_shown = -1
    for number, kind in enumerate(script.kinds):
        part = slice(int(edges[number]), int(edges[number + 1]))
        size = part.stop - part.start
        _, shown, side, first, last = script.attributes[number]
        if shown != was_shown:
            scrolled, was_shown = [0.0] * screen.sides, shown
        if not size:
            continue
        fixation = np.arange(size) // 3  # about a quarter of a second each
        if kind == "read":
            layout = layouts[shown][side]
            share = first + (last - first) * 3 * fixation / size
            back = rng.random(size)[fixation] < 0.08  # a jump back in the text
            limit = max(0.0, layout.height_px - screen.box_px)
            wanted = share * layout.height_px - 0.45 * screen.box_px
            box = np.minimum(np.ceil(np.maximum(wanted, 0) / _WHEEL_PX) * _WHEEL_PX, limit)
            share = share - 0.03 * back + rng.normal(0, 0.003, size)[fixation]
            unit = np.clip((share * layout.units).astype(np.int64), 0, layout.units - 1)
            line = layout.line_of(unit)
            box_scroll[side][part] = box
            scrolled[side] = float(box[-1])
            x[part] = screen.left_px(side) + page.CHAR_PX * (unit - layout.line_start[line] + 0.5)
            y[part] = screen.top_px - page_scroll[part] + page.LINE_PX * line + _LINE_MIDDLE - box
            char[part] = layout.stored[layout.char_down[unit]]
        elif kind == "rate":
            x[part], y[part] = first, last
        else:
            _idle_look(rng, screen, kind, fixation, x[part], y[part])
        for other in range(screen.sides):
            if other != side:
                box_scroll[other][part] = scrolled[other]
    return x, y, char


def _idle_look(
    rng: np.random.Generator,
    screen: Screen,
    kind: str,
    fixation: IntArray,
    x: FloatArray,
    y: FloatArray,
) -> None:
    """Fill in where they look while they type (input, keyboard), wait or leave the answers."""
    spot = fixation // 5
    places = rng.random((int(spot[-1]) + 1, 3))
    if kind == "type":
        keyboard = places[:, 2] < 0.4
        x[:] = (screen.width * (0.15 + 0.3 * places[:, 0]))[spot]
        y[:] = np.where(keyboard, screen.height * 1.15, screen.top_px - 30.0)[spot]
    elif kind == "wait":
        x[:] = (screen.width * (0.05 + 0.9 * places[:, 0]))[spot]
        y[:] = (screen.top_px - 80 + (screen.box_px * 0.6) * places[:, 1])[spot]
    else:
        x[:] = screen.width * 0.5
        y[:] = screen.height * 0.6


def _follow(
    rng: np.random.Generator,
    script: Script,
    clock: FloatArray,
    look_x: FloatArray,
    look_y: FloatArray,
    look_on: IntArray,
    screen: Screen,
    habit: Habit,
) -> None:
    """Add pointer moves that go to where the eyes are; some rest beside the text instead."""
    count = int((clock[-1] - clock[0]) / 700.0) + 10
    times = clock[0] + np.cumsum(rng.uniform(700, 2600, count))
    times = times[times < clock[-1]]
    at = np.searchsorted(clock, times)
    use = (look_on[at] > 0) & (rng.random(len(at)) < habit.follows)
    times, at = times[use], at[use]
    noise = rng.normal(0, 30, (2, len(at)))
    top, bottom = screen.top_px + 6, screen.top_px + screen.box_px - 6
    left = np.array([screen.left_px(s) for s in range(screen.sides)])[look_on[at] - 1]
    x = np.clip(look_x[at] + noise[0], left + 4, left + screen.column_px - 4)
    y = np.clip(look_y[at] + noise[1], top, bottom)
    beside = rng.random(len(at)) < 0.1
    x = np.where(beside, screen.width - 6.0, x)
    places = zip(times.tolist(), x.tolist(), y.tolist(), strict=True)
    script.moves += [(*place, 280.0) for place in places]


def _pointer(script: Script, clock: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return whole pixels of the pointer per tick, (-1, -1) before it first moved."""
    at, x, y, ms = np.array(sorted(script.moves)).T
    start = np.maximum(at - ms, np.concatenate([[at[0] - ms[0]], at[:-1]]))
    when = np.stack([start, at], 1).ravel()
    out = []
    for value in (x, y):
        before = np.concatenate([value[:1] + 40.0, value[:-1]])
        path = np.stack([before, value], 1).ravel()
        out.append(np.rint(np.interp(clock, when, path)))
    unseen = clock < when[0]
    return np.where(unseen, -1.0, out[0]), np.where(unseen, -1.0, out[1])


def _noise(rng: np.random.Generator, n: int, spread_px: float) -> FloatArray:
    """Draw slow drift (about 1.5 s) plus jitter."""
    width = 16
    white = np.concatenate([[0.0], np.cumsum(rng.normal(0, 1, n + width))])
    slow = (white[width : width + n] - white[:n]) / np.sqrt(width)
    noise: FloatArray = slow * spread_px + rng.normal(0, 0.3 * spread_px, n)
    return noise
