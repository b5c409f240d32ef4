"""The figures of the dataset card: where one reader was, what they looked at, how often we know.

Every figure has a solid light background, so it reads the same on a light and a dark page, and
tells gaze from mouse by shape as well as by colour (blue and orange of the Okabe-Ito palette).
Figures are drawn without pyplot: no display is needed and no global state changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.schema import ENUMERATIONS
from ifllm_hf.hub.cards.shown_turn import SIDES, ShownTurn, choose_turn
from ifllm_hf.hub.cards.table_numbers import Values, shards
from ifllm_hf.hub.cards.tick_numbers import TickNumbers
from ifllm_hf.hub.cards.wrapped_text import wrap

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAZE, MOUSE = "#D55E00", "#0072B2"
_INK, _PAPER, _GREY = "#222222", "#FFFFFF", "#6B6B6B"
_RATING, _AFTER = "#E4E4E4", "#C6C6C6"
_COUNTS = "#3B8F76"
_DPI = 160
_ADVANCE, _LINE = 19, 46  # px: a character's width in `heat`, whole so that cells align; a line
_SIDE_NAMES = {"a": "left answer (a)", "b": "right answer (b)"}

# Everything that a user's own matplotlib settings could change to the worse.
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 11.0,
    "text.color": _INK,
    "text.usetex": False,
    "axes.edgecolor": _GREY,
    "axes.facecolor": _PAPER,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "figure.facecolor": _PAPER,
    "legend.frameon": False,
    "legend.fontsize": 11.0,
    "savefig.facecolor": "auto",
    "savefig.bbox": None,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def nothing_drawn() -> Values:
    """Return the template's values for a card without figures."""
    shown = ("reader", "query", "prompt", "share")
    return {
        **dict.fromkeys(("has_reading", "has_heat", "has_intervals", "heat_side")),
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
        ModuleNotFoundError: matplotlib is not installed.
    """
    import matplotlib

    values = nothing_drawn()
    place = folder / "figures"
    with matplotlib.rc_context(_STYLE):
        turn = choose_turn(shards(folder, "pairwise"))
        if turn is not None:
            _save(reading_position(turn), place / "reading.png", synthetic)
            values |= {
                "has_reading": "",
                "shown_reader": f"`{turn.user_id}`",
                "shown_query": str(turn.query_id),
                "shown_prompt": _as_plain_text(turn.prompt),
                "shown_share": turn.same_share,
            }
            side = max(SIDES, key=lambda s: turn.dwell_ms("gaze", s).sum())
            if turn.dwell_ms("gaze", side).any():
                _save(heat(turn, side), place / "heat.png", synthetic)
                values |= {"has_heat": "", "heat_side": f"`{side}`"}
        counts = numbers()
        if counts.median_intervals_ms:
            _save(intervals(counts), place / "intervals.png", synthetic)
            values["has_intervals"] = ""
    return values


def reading_position(turn: ShownTurn) -> Figure:
    """Draw the character under gaze and mouse over time, one lane per answer, phases shaded."""
    figure = _figure(7.4, 5.9)
    lanes = figure.subplots(2, 1, sharex=True)
    figure.subplots_adjust(left=0.115, right=0.975, top=0.845, bottom=0.10, hspace=0.16)
    spans = _phase_spans(turn)
    for code, (side, lane) in enumerate(zip(SIDES, lanes, strict=True), start=1):
        for name, start, stop in spans:
            if name != "reading":
                shade = _RATING if name == "rating" else _AFTER
                lane.axvspan(start, stop, color=shade, lw=0, zorder=0)
        for channel, look in (
            ("mouse", {"marker": "s", "s": 17, "color": MOUSE, "alpha": 0.55}),
            ("gaze", {"marker": "o", "s": 9, "color": GAZE, "alpha": 0.85}),
        ):
            on = (turn.on[channel] == code) & (turn.char[channel] >= 0)
            lane.scatter(turn.t_s[on], turn.char[channel][on], lw=0, label=channel, **look)
        length = max(1, len(turn.answers[side]))
        lane.set_ylim(length * 1.03, -length * 0.03)
        lane.set_yticks([0, length // 2, length], ["start", "middle", "end"])
        title = _SIDE_NAMES[side] + (", preferred" if turn.preference == side else "")
        lane.set_title(f"{title}: {length:,} characters", fontsize=11, weight="bold", pad=4)
        lane.tick_params(length=3)
    end = spans[-1][2] if spans else float(turn.t_s[-1])
    lanes[1].set_xlim(0, max(end, 1.0))
    lanes[1].set_xlabel("seconds since the question's first tick")
    for name, start, stop in spans:
        if stop - start > 0.06 * end:
            lanes[0].text(
                (start + stop) / 2, 1.12, name, transform=lanes[0].get_xaxis_transform(),
                ha="center", va="bottom", style="italic",
            )  # fmt: skip
    _title(figure, "How far into each answer one reader was")
    handles, labels = lanes[0].get_legend_handles_labels()
    figure.legend(
        handles[::-1], labels[::-1], loc="upper right", bbox_to_anchor=(0.985, 0.995), ncols=2,
        markerscale=1.8, handletextpad=0.1, columnspacing=1.0, fontsize=12,
    )  # fmt: skip
    return figure


def heat(turn: ShownTurn, side: str, columns: int = 60, most_lines: int = 26) -> Figure:
    """Draw an answer with the dwell of gaze behind each character and of the mouse below it."""
    placed, rows = wrap(_drawable(turn.answers[side]), columns)
    cut = len(rows) > most_lines
    rows = rows[:most_lines]
    margin, top, bottom = 36, 80, 92
    width = columns * _ADVANCE + 2 * margin
    height = len(rows) * _LINE + top + bottom
    figure = _figure(width / _DPI, height / _DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    gaze = _spread(turn.dwell_ms("gaze", side))
    mouse = _spread(turn.dwell_ms("mouse", side))
    strongest = max(float(np.percentile(gaze[gaze > 0], 98)), 1e-9)
    shown = (placed[:, 0] >= 0) & (placed[:, 0] < len(rows))
    row, column = placed[shown].T
    grid = np.zeros((len(rows), columns))
    grid[row, column] = gaze[shown]
    box = (margin, margin + columns * _ADVANCE, top + len(rows) * _LINE, top)
    axes.imshow(
        grid, cmap=_heat_colours(), vmin=0, vmax=strongest, extent=box, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for i, written in enumerate(rows):
        axes.text(
            margin, top + i * _LINE + 29, written, family="DejaVu Sans Mono",
            fontsize=_ADVANCE * 2048 / 1233 * 72 / _DPI, parse_math=False, va="baseline",
        )  # fmt: skip
    share = mouse[shown] / max(float(np.percentile(mouse, 98)), 1e-9)
    _underline(axes, margin + _ADVANCE * column, top + _LINE * row + 38, np.minimum(share, 1))
    _heat_legend(axes, margin, height - bottom + 30, strongest)
    if cut:
        axes.text(width - margin, height - 14, "(cut here)", ha="right", color=_GREY)
    _title(figure, f"Where gaze and mouse rested while reading the {_SIDE_NAMES[side]}")
    return figure


def _underline(
    axes: Axes, x: NDArray[np.int64], y: NDArray[np.int64], share: NDArray[np.float64]
) -> None:
    """Draw a line below every cell, thicker for a larger share; none for next to nothing."""
    from matplotlib.collections import LineCollection

    use = share > 0.12
    # Half a pixel over each end, so that neighbours leave no seam.
    ends = [np.stack([x[use] + shift, y[use]], -1) for shift in (-0.5, _ADVANCE + 0.5)]
    lines = LineCollection(
        list(np.stack(ends, 1)), linewidths=4 * share[use], colors=MOUSE, capstyle="butt"
    )
    axes.add_collection(lines, autolim=False)


def intervals(numbers: TickNumbers) -> Figure:
    """Draw the time between ticks, of all ticks and as the median of each conversation."""
    figure = _figure(7.4, 5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    figure.subplots_adjust(left=0.115, right=0.965, top=0.84, bottom=0.115, hspace=0.32)
    edges = np.geomspace(20, 5000, 73)
    cells = np.flatnonzero(numbers.intervals)
    counts, _ = np.histogram(
        np.clip(cells / 10, edges[0], edges[-1]), bins=edges, weights=numbers.intervals[cells]
    )
    share = 100 * counts / counts.sum()
    above.stairs(share, edges, fill=True, color=_COUNTS)
    above.set_ylabel("% of intervals")
    highest = float(share.max()) * 1.3
    above.set_ylim(0, highest)
    for percent in (5, 50, 95, 99):
        at = numbers.interval_percentile(percent)
        if at is not None:
            above.axvline(at, color=_INK, lw=1.1, ls=(0, (4, 2)))
            align = "right" if percent == 5 else "left"
            above.text(
                at * (0.97 if percent == 5 else 1.03), highest, f"{percent}%\n{at:.0f} ms",
                ha=align, va="top", fontsize=10,
            )  # fmt: skip
    above.set_title(f"all {int(numbers.intervals.sum()):,} intervals", fontsize=11, weight="bold")
    medians = np.clip(numbers.median_intervals_ms, edges[0], edges[-1])
    below.hist(medians, bins=list(edges), color=_COUNTS)
    below.set_title(
        f"the median interval of each of {len(medians):,} conversations", fontsize=11, weight="bold"
    )
    below.set_ylabel("conversations")
    below.set_xscale("log")
    ticks = [20, 50, 100, 200, 500, 1000, 2000, 5000]
    below.set_xticks(ticks, ["20 ms", "50", "100", "200", "500", "1 s", "2 s", "5 s"])
    below.minorticks_off()
    below.set_xlabel("time from one tick to the next (log scale; longer ones stand at 5 s)")
    _title(figure, "How often we know where gaze and mouse are", "dashed: percentiles")
    return figure


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI)


def _title(figure: Figure, text: str, more: str = "") -> None:
    height = figure.get_figheight()
    figure.text(0.022, 1 - 0.10 / height, text, fontsize=13.5, weight="bold", va="top")
    if more:
        figure.text(0.975, 1 - 0.12 / height, more, color=_GREY, va="top", ha="right")


def _save(figure: Figure, path: Path, synthetic: bool) -> None:
    path.parent.mkdir(exist_ok=True)
    if synthetic:
        figure.text(
            0.5, 0.5, "SYNTHETIC: made up", fontsize=30, color=_GREY, alpha=0.35, rotation=18,
            ha="center", va="center", weight="bold",
        )  # fmt: skip
    # Without the program's version in it, the same data give the same bytes.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 4})


def _phase_spans(turn: ShownTurn) -> list[tuple[str, float, float]]:
    """Return (phase, start, end) in seconds; what comes after the rating is shown in part."""
    names, starts = [], []
    for code, name in enumerate(ENUMERATIONS["phase"]):
        rows = np.flatnonzero(turn.phase == code)
        if rows.size:
            names.append(name)
            starts.append(float(turn.t_s[rows[0]]))
    end = float(turn.t_s.max())
    if names and names[-1] == "after":
        end = min(end, starts[-1] + max(8.0, 0.2 * starts[-1]))
    return list(zip(names, starts, [*starts[1:], end], strict=True))


def _spread(dwell: NDArray[np.float64], sigma: float = 6.0) -> NDArray[np.float64]:
    """Smooth dwell along the text; the sum stays, but for what falls off the ends."""
    reach = np.arange(-int(3 * sigma), int(3 * sigma) + 1)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    full = np.convolve(dwell, kernel / kernel.sum(), mode="full")
    return full[len(reach) // 2 : len(reach) // 2 + len(dwell)]


def _heat_colours() -> Any:
    """Return white to orange; black text is legible on all of it."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("dwell", ["#FFFFFF", "#FCE3BF", "#F7B667", "#EE8A2E"])


def _heat_legend(axes: Axes, x: float, y: float, strongest: float) -> None:
    ramp = np.linspace(0, 1, 64)[None, :]
    axes.imshow(
        ramp, cmap=_heat_colours(), extent=(x, x + 190, y + 26, y), aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.plot([x, x + 190, x + 190, x, x], [y, y, y + 26, y + 26, y], color=_GREY, lw=0.8)
    axes.text(x + 204, y + 13, f"gaze: 0 to {strongest:.0f} ms per character", va="center")
    axes.plot([x + 700, x + 780], [y + 14, y + 14], color=MOUSE, lw=3.2, solid_capstyle="butt")
    axes.text(x + 794, y + 13, "mouse rested here", va="center")


def _as_plain_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is."""
    return re.sub(r"([\\`*_\[\]<>{}|$#])", r"\\\1", " ".join(text.split()))


def _drawable(text: str) -> str:
    """Replace what the font cannot draw (emoji, some scripts) by a box."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans Mono")).get_charmap()
    return "".join(c if ord(c) in known or c in "\n\t" else "\u25a1" for c in text)
