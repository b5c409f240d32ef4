"""The figures of the page, inside it: for light and dark, for wide and narrow screens."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.report.answer import NAMES
from ifllm_hf.plot.canvas import bare_figure, file_style
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.score_forest import plot_report
from ifllm_hf.plot.text_heat import columns_in, height_pt, set_text
from ifllm_hf.plot.turn_figure import draw_turn, plot_turn

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Figure

GROUND = {"light": "#ffffff", "dark": "#1c1f24"}
_INK = {"light": "#222222", "dark": "#e4e6ea"}
_EDGE = {"light": "#6b6b6b", "dark": "#8b919b"}
_DPI = {"wide": 130, "narrow": 170}
_COLOURS = 64
# Inches of a narrow figure.
_WIDTH, _SIDE, _LANE_LEFT = 4.0, 0.08, 0.72
_HEAD, _BELOW, _LANE, _LANE_GAP, _AXIS = 0.36, 0.36, 0.8, 0.16, 0.45
_MOST_LINES = 34

Pictures = Mapping[str, Mapping[str, str]]
"""By width and ground, the address of a picture: all of its bytes."""


def turn_pictures(row: Mapping[str, Any]) -> Pictures:
    """Draw a turn as `plot_turn` does; on narrow screens its answers stand below each other."""
    turn = drawn_turn(row)
    return _pictures(
        {
            "wide": lambda: draw_turn(turn, bare_figure)[0].figure,
            "narrow": lambda: _narrow_turn(row, [answer.text for answer in turn.answers]),
        }
    )


def answer_pictures(records: Sequence[Record]) -> Pictures:
    """Draw the lines of the answer as `plot_report` does."""
    called = {model: title for title, model in NAMES.items()}
    named = [{**r, "model": called[r["model"]]} for r in records if r["model"] in called]
    named.sort(key=lambda r: list(NAMES).index(r["model"]))
    panels = len({r["subset"] for r in named if r["subset"] in ("all", "similar length")})

    def draw(wide: bool) -> Figure:
        size = (9.6, 1.75) if wide else (_WIDTH, 1.75 * panels)
        figure = bare_figure(*size, layout="constrained")
        rows, columns = (1, panels) if wide else (panels, 1)
        places = figure.subplots(rows, columns, squeeze=False, sharey=wide)
        plot_report(named, axes=places.ravel())
        return figure

    return _pictures({"wide": lambda: draw(True), "narrow": lambda: draw(False)})


def _narrow_turn(row: Mapping[str, Any], texts: Sequence[str]) -> Figure:
    wide = _WIDTH - 2 * _SIDE
    columns = columns_in(72 * wide)
    lines = [min(len(set_text(text, columns).rows), _MOST_LINES) for text in texts]
    highs = [height_pt(max(1, n), 72 * wide, columns) / 72 + 0.02 for n in lines]
    answers = sum(highs) + len(texts) * (_HEAD + _BELOW)
    height = answers + len(texts) * (_LANE + _LANE_GAP) + _AXIS
    figure = bare_figure(_WIDTH, height)

    def place(left: float, top: float, wide: float, high: float) -> Any:
        return figure.add_axes(
            (left / _WIDTH, 1 - (top + high) / height, wide / _WIDTH, high / height)
        )

    axes, top = [], 0.0
    for high in highs:
        axes.append(place(_SIDE, top + _HEAD, wide, high))
        top += _HEAD + high + _BELOW
    for _ in texts:
        axes.append(place(_LANE_LEFT, top + _LANE_GAP, _WIDTH - _LANE_LEFT - _SIDE, _LANE))
        top += _LANE + _LANE_GAP
    plot_turn(row, axes=axes)
    for lane in axes[len(texts) :]:
        lane.yaxis.set_label_coords(-0.13, 0.5)
    for lane in axes[len(texts) : -1]:  # the lanes share the time below the last one
        lane.set_xlabel("")
        lane.tick_params(labelbottom=False)
    return figure


def _pictures(draw: Mapping[str, Callable[[], Figure]]) -> Pictures:
    found: dict[str, dict[str, str]] = {}
    for width, one in draw.items():
        found[width] = {}
        for ground in GROUND:
            with _style(ground):
                found[width][ground] = _address(one(), _DPI[width])
    return found


def _style(ground: str) -> AbstractContextManager[None]:
    ink, face = _INK[ground], GROUND[ground]
    inks = ("text.color", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    faces = ("axes.facecolor", "figure.facecolor")
    return file_style(
        {
            **dict.fromkeys(inks, ink),
            **dict.fromkeys(faces, face),
            "axes.edgecolor": _EDGE[ground],
        }
    )


def _address(figure: Figure, dpi: int) -> str:
    """Return a figure as a `data:` address; with a palette it has a third of the bytes."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    drawn.seek(0)
    Image.open(drawn).convert("RGB").quantize(_COLOURS).save(small, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()
