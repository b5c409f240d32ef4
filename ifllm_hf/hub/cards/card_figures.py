"""The figures of the dataset card: where one reader was, what they looked at, how often we know.

Every figure has a solid light background, so it reads the same on a light and a dark page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ifllm_hf.hub.cards.shown_turn import choose_turn
from ifllm_hf.hub.cards.table_numbers import Values, shards
from ifllm_hf.hub.cards.tick_numbers import INTERVAL_STEPS_PER_MS, TickNumbers
from ifllm_hf.plot.canvas import bare_figure, file_style, save_png
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.reading_figure import draw_reading
from ifllm_hf.plot.tick_intervals import interval_figure
from ifllm_hf.plot.turn_figure import draw_turn

if TYPE_CHECKING:
    from ifllm_hf.plot.canvas import Figure

_DPI = 130
_PERCENTS = (5, 50, 95, 99)


def nothing_drawn() -> Values:
    """Return the template's values for a card without figures."""
    shown = ("reader", "query", "prompt", "share")
    return {
        **dict.fromkeys(("has_reading", "has_heat", "has_intervals")),
        **{f"shown_{name}": None for name in shown},
    }


def draw(folder: Path, numbers: Callable[[], TickNumbers], *, synthetic: bool = False) -> Values:
    """Write `figures/*.png` into a prepared folder, as far as its data allow.

    Args:
        folder: The prepared folder.
        numbers: Returns the counts over its ticks; called last, so that they may be counted
            meanwhile.
        synthetic: Say in every figure that it is made up.

    Returns:
        The template's values: `has_*` is "" for a figure that was drawn, None for one that was not.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    values = nothing_drawn()
    place = folder / "figures"

    def save(figure: Figure, name: str) -> None:
        place.mkdir(exist_ok=True)
        save_png(figure, place / f"{name}.png", _DPI, made_up=synthetic)

    with file_style():
        found = choose_turn(shards(folder, "pairwise"))
        if found is not None:
            turn = drawn_turn(found.row)
            save(draw_reading(turn, bare_figure)[0, 0].figure, "reading")
            values |= {
                "has_reading": "",
                "shown_reader": f"`{found.row['user_id']}`",
                "shown_query": str(turn.query_id),
                "shown_prompt": _as_plain_text(turn.prompt),
                "shown_share": found.same_share,
            }
            if turn.channel("gaze").dwell_ms.any():
                save(draw_turn(turn, bare_figure)[0].figure, "heat")
                values["has_heat"] = ""
        counts = numbers()
        if counts.median_intervals_ms:
            cells = np.flatnonzero(counts.intervals)
            percentiles = {p: counts.interval_percentile(p) for p in _PERCENTS}
            known = {p: at for p, at in percentiles.items() if at is not None}
            figure = interval_figure(
                cells / INTERVAL_STEPS_PER_MS,
                counts.intervals[cells],
                known,
                counts.median_intervals_ms,
            )
            save(figure, "intervals")
            values["has_intervals"] = ""
    return values


def _as_plain_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>{}|$#])", r"\\\1", " ".join(text.split()))
