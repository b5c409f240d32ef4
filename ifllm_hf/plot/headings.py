"""What stands above a turn and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ifllm_hf.plot.canvas import GREEN, GREY
from ifllm_hf.plot.drawn_turn import DrawnAnswer, DrawnTurn
from ifllm_hf.plot.wrapped_text import wrap

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Axes, Figure

_LEFT, _ABOVE, _LINE, _SAID = 0.2, 0.14, 0.24, 0.2  # inches
_SIZE_PT, _CHARS, _LINES = 12.5, 92, 2


def title_height(turn: DrawnTurn) -> float:
    """Return how many inches `write_title` takes from the top of a figure."""
    return _ABOVE + _LINE * len(_question(turn.prompt)) + _SAID


def write_title(figure: Figure, turn: DrawnTurn) -> None:
    """Write the question, cut to two lines, and below it reader, turn, topic and preference."""
    width, height = figure.get_size_inches()
    lines = _question(turn.prompt)
    figure.text(
        _LEFT / width, 1 - _ABOVE / height, "\n".join(lines), fontsize=_SIZE_PT, weight="bold",
        va="top", parse_math=False, linespacing=1.2,
    )  # fmt: skip
    figure.text(
        _LEFT / width, 1 - (_ABOVE + _LINE * len(lines)) / height, turn.said, fontsize=9,
        va="top", alpha=0.75, parse_math=False,
    )  # fmt: skip


def title_answer(axes: Axes, answer: DrawnAnswer) -> None:
    """Write an answer's name, whether it was preferred and its rating above axes."""
    axes.set_title(answer.name, loc="left", fontsize=10.5, weight="bold", pad=7)
    rated = "not rated"
    if answer.likert is not None:
        rated = "●" * answer.likert + "○" * (5 - answer.likert) + f" {answer.likert} of 5"
    axes.set_title(rated, loc="right", fontsize=9, pad=7)
    if answer.liked:
        axes.set_title("✓ preferred", loc="center", fontsize=10, weight="bold", color=GREEN, pad=7)


def frame_answer(axes: Axes, answer: DrawnAnswer) -> None:
    """Draw a frame around axes, a strong one around the preferred answer."""
    for spine in axes.spines.values():
        spine.set(visible=True, edgecolor=GREEN if answer.liked else GREY)
        spine.set_linewidth(2.2 if answer.liked else 0.8)


def _question(prompt: str) -> list[str]:
    """Return the question in lines; cut where it is longer."""
    _, rows = wrap(" ".join(prompt.split()) or "(no question)", _CHARS)
    if len(rows) > _LINES:
        rows = [*rows[: _LINES - 1], rows[_LINES - 1][: _CHARS - 2] + " …"]
    return rows
