"""Lanes over time: where in an answer gaze and mouse were, and in which phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.declaration import CHANNELS, FloatArray
from ifllm_hf.plot.canvas import CHANNEL_COLOURS, GREY
from ifllm_hf.plot.drawn_turn import READING, DrawnAnswer, DrawnTurn

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes

_SHADE = {"rating": 0.16, "after": 0.34}
_LEAST_AFTER_S, _AFTER_SHARE = 4.0, 0.15  # what comes after the rating is shown in part


def phase_spans(t_s: FloatArray, phase: NDArray[np.str_]) -> list[tuple[str, float, float]]:
    """Return each run of a phase with its begin and end in seconds; one ends where the next begins.

    Args:
        t_s: `[n]` times.
        phase: `[n]` "reading", "rating" or "after".
    """
    if not len(t_s):
        return []
    first = np.flatnonzero(np.concatenate(([True], phase[1:] != phase[:-1])))
    begins = t_s[first].tolist()
    return list(zip(phase[first].tolist(), begins, [*begins[1:], float(t_s[-1])], strict=True))


def shown_end_s(turn: DrawnTurn) -> float:
    """Return where the time axis ends: what came after the rating is cut where it is long."""
    spans = phase_spans(turn.t_s, turn.phase)
    if not spans:
        return 1.0
    name, begin, end = spans[-1]
    if name == "after":
        end = min(end, begin + max(_LEAST_AFTER_S, _AFTER_SHARE * begin))
    return max(end, 1.0)


def draw_phases(axes: Axes, turn: DrawnTurn, *, names: bool) -> None:
    """Shade what is not reading, and name the phases above the axes."""
    end = shown_end_s(turn)
    for name, begin, stop in phase_spans(turn.t_s, turn.phase):
        stop = min(stop, end)
        if name in _SHADE:
            axes.axvspan(begin, stop, color=GREY, alpha=_SHADE[name], lw=0, zorder=0)
        if names and stop - begin > 0.09 * end:
            said = f"{name} (its end is a guess)" if name == READING and turn.guessed_end else name
            axes.text(
                (begin + stop) / 2, 1.02, said, transform=axes.get_xaxis_transform(),
                ha="center", va="bottom", style="italic", fontsize=8.5,
            )  # fmt: skip


def draw_lane(
    axes: Axes, turn: DrawnTurn, answer: DrawnAnswer, *, phase_names: bool = False, size: float = 1
) -> None:
    """Draw the character under gaze (dots) and mouse (a line) over time, from top to bottom.

    Args:
        axes: Where to draw.
        turn: The turn.
        answer: Whose lane it is.
        phase_names: Write the names of the phases above.
        size: Of dots and lines; 1 for a lane of an inch.
    """
    draw_phases(axes, turn, names=phase_names)
    _draw_visible(axes, turn, answer)
    for name in CHANNELS:
        on = turn.on[name] == answer.slot
        char = np.where(on, turn.char[name], np.nan).astype(float)
        color = CHANNEL_COLOURS[name]
        if name == "mouse":
            sampled = turn.on[name] != -2
            t, y = turn.t_s[sampled], char[sampled]
            axes.plot(t, y, "-", color=color, lw=1.3 * size, zorder=4, label=name)
            alone = _alone(y)
            axes.plot(t[alone], y[alone], "s", color=color, ms=2 * size, mew=0, zorder=4)
        else:
            axes.plot(
                turn.t_s[on], char[on], "o", color=color, ms=2.2 * size, mew=0, alpha=0.75,
                zorder=3, label=name,
            )  # fmt: skip
    length = max(1, len(answer.text))
    axes.set(xlim=(0, shown_end_s(turn)), ylim=(length * 1.03, -length * 0.03))
    axes.set_yticks([0, length], ["0", f"{len(answer.text):,}"])
    axes.tick_params(length=3, labelsize=8.5)
    if not any((turn.on[name] == answer.slot).any() for name in CHANNELS):
        nothing = "neither gaze nor mouse was on this answer"
        say_nothing(axes, nothing if len(turn.t_s) else "nothing was recorded in this turn")


def say_nothing(axes: Axes, text: str) -> None:
    """Write into axes why there is nothing to see."""
    axes.text(
        0.5,
        0.5,
        text,
        transform=axes.transAxes,
        ha="center",
        va="center",
        style="italic",
        alpha=0.7,
    )


def _alone(y: FloatArray) -> NDArray[np.bool_]:
    """Tell which points have no neighbour to draw a line to."""
    known = np.concatenate(([False], np.isfinite(y), [False]))
    alone: NDArray[np.bool_] = known[1:-1] & ~known[:-2] & ~known[2:]
    return alone


def _draw_visible(axes: Axes, turn: DrawnTurn, answer: DrawnAnswer) -> None:
    """Draw the part of the answer that was on screen, each until the next."""
    changes = turn.visible[answer.side]
    at = np.flatnonzero(np.isfinite(changes[:, 0]))
    if not at.size:
        return
    t = [*turn.t_s[at], float(turn.t_s[-1])]
    first, end = (np.append(changes[at, k], changes[at[-1], k]) for k in (0, 1))
    axes.fill_between(t, first, end, step="post", color=GREY, alpha=0.13, lw=0, zorder=0.5)
