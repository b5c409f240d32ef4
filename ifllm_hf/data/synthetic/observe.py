"""What the site's listener records of a point on the page: position, caret, window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ifllm_hf.data.synthetic import page
from ifllm_hf.data.synthetic.page import BoolArray, FloatArray, IntArray, Layout, PageLabels, Screen

_LINE_STEP = 1 << 20  # more than any offset: packs (line, offset) in one number


@dataclass
class ObservedChannel:
    """What was recorded of the gaze or of the pointer, one value per tick.

    Attributes:
        on: 0 off the answers, 1 on a, 2 on b.
        rel_x: Position in the element as recorded; only meaningful where `on` is not 0.
        rel_y: The same for y.
        unit: Caret in UTF-16 units, -1 for none.
        text: Index into `windows`, -1 where there was no caret.
        char: Code point index into the stored answer, -1 where the caret was not in an answer.
        surface: Index into `page.SURFACES`.
        windows: The distinct window texts.
    """

    on: IntArray
    rel_x: FloatArray
    rel_y: FloatArray
    unit: IntArray
    text: IntArray
    char: IntArray
    surface: IntArray
    windows: list[str]


def observe(
    screen: Screen,
    labels: PageLabels,
    layouts: Mapping[int, Sequence[Layout]],
    x_px: FloatArray,
    y_px: FloatArray,
    page_scroll_px: FloatArray,
    box_scroll_px: Sequence[FloatArray],
    shown: IntArray,
    no_caret: BoolArray,
) -> ObservedChannel:
    """Record one channel as the site does.

    Args:
        screen: The window.
        labels: Texts around the answers.
        layouts: For each thing shown (-1: placeholder, else the turn) the layout of each side.
        x_px: Points in the window, nan where nothing was recorded.
        y_px: The same for y.
        page_scroll_px: Scroll of the page per tick.
        box_scroll_px: Scroll of each answer's box per tick.
        shown: What the boxes show per tick.
        no_caret: Ticks at which the browser found no caret.

    Returns:
        The recorded channel.
    """
    n = len(x_px)
    top = screen.top_px - page_scroll_px
    seen = (x_px >= 0) & (x_px < screen.width) & (y_px >= 0) & (y_px < screen.height)
    below = y_px - top - screen.box_px
    in_form = seen & (below >= 0) & (below < page.FORM_HEIGHT_PX)
    in_form &= (x_px > 0.15 * screen.width) & (x_px < 0.85 * screen.width)
    channel = ObservedChannel(
        on=np.zeros(n, np.int64),
        rel_x=np.full(n, -1.0),
        rel_y=np.full(n, -1.0),
        unit=np.full(n, -1),
        text=np.full(n, -1),
        char=np.full(n, -1),
        surface=np.where(in_form, page.RATING, np.where(seen, page.PAGE, page.NONE)),
        windows=[],
    )
    states = np.unique(shown).tolist()
    for side in range(screen.sides):
        rel_x = x_px - screen.left_px(side)
        across = (rel_x >= 0) & (rel_x <= screen.column_px)
        in_box = across & (y_px >= top) & (y_px <= top + screen.box_px)
        for state in states:
            layout = layouts[state][side]
            here = np.flatnonzero(across & (shown == state))
            if not len(here):
                continue
            text_y = y_px[here] - top[here] + box_scroll_px[side][here]
            visible = in_box[here]
            if screen.layout == "paragraph":
                inside = (text_y >= 0) & (text_y <= layout.height_px)
                recorded_y = text_y
            else:
                inside = visible
                recorded_y = text_y if screen.layout == "single" else y_px[here] - top[here]
            here, text_y, visible = here[inside], text_y[inside], visible[inside]
            channel.on[here] = side + 1
            channel.rel_x[here] = rel_x[here]
            channel.rel_y[here] = recorded_y[inside]
            is_answer = page.PLACEHOLDER_TEXT if state < 0 else page.RESPONSE
            channel.surface[here[visible & seen[here]]] = is_answer
            caret = seen[here] & ~no_caret[here]
            on_text = here[caret & visible]
            unit, line = layout.caret(rel_x[on_text], text_y[caret & visible])
            channel.unit[on_text] = unit
            if state >= 0:
                channel.char[on_text] = layout.stored[layout.char_down[unit]]
            _add_windows(channel, on_text, layout, line, unit)
            beyond = here[caret & ~visible]
            if len(beyond):
                number, unit = labels.caret(x_px[beyond], y_px[beyond], top[beyond])
                known = number >= 0
                channel.unit[beyond[known]] = unit[known]
                _add_windows(channel, beyond[known], labels, number[known], unit[known])
    return channel


def _add_windows(
    channel: ObservedChannel,
    ticks: IntArray,
    source: Layout | PageLabels,
    part: IntArray,
    unit: IntArray,
) -> None:
    """Cut each distinct window once; `part` is the line of a layout or the number of a label."""
    key, index = np.unique(part * _LINE_STEP + unit, return_inverse=True)
    channel.text[ticks] = index + len(channel.windows)
    channel.windows += source.windows(key % _LINE_STEP, key // _LINE_STEP)
