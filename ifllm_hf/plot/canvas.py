"""What all figures share: colours, blank figures, marks with intervals, and how files look.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; wherever two of them
meet, shape tells them apart as well. Figures that a user asks for follow the user's matplotlib
style, dark ones included; those that we write to files are drawn inside `file_style()`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure

BLUE, VERMILION, ORANGE = "#0072B2", "#D55E00", "#E69F00"
GREEN, SKY, PURPLE, GREY = "#009E73", "#56B4E9", "#CC79A7", "#888888"
CHANNEL_COLOURS = {"gaze": VERMILION, "mouse": BLUE}

# Everything that a user's own matplotlib settings could change to the worse in a file.
_FILE_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": "#222222",
    "text.usetex": False,
    "axes.edgecolor": "#6B6B6B",
    "axes.facecolor": "#FFFFFF",
    "axes.labelcolor": "#222222",
    "axes.spines.top": True,
    "axes.spines.right": True,
    "figure.facecolor": "#FFFFFF",
    "legend.frameon": False,
    "savefig.facecolor": "auto",
    "savefig.bbox": None,
    "xtick.color": "#222222",
    "ytick.color": "#222222",
}


def has_matplotlib() -> bool:
    """Tell whether figures can be drawn, without importing what draws them."""
    try:
        return find_spec("matplotlib") is not None
    except ValueError:  # it was imported, and is no module
        return False


def require_matplotlib() -> None:
    """Refuse to draw where nothing can be drawn; call it before long work.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    if not has_matplotlib():
        raise ConfigError(
            "figures need matplotlib, which is not installed; install the extra `plot` "
            "(in a clone: pip install -e '.[plot]')"
        )


def blank_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Any]]:
    """Return a figure that needs no display and leaves matplotlib's global state alone.

    Args:
        width: Inches.
        height: Inches.
        columns: Axes beside each other.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure = bare_figure(width, height, layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def bare_figure(width: float, height: float, **settings: Any) -> Figure:
    """Return a figure without axes, as `blank_figure` does; sizes in inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), **settings)


def shown_figure(width: float, height: float, **settings: Any) -> Figure:
    """Return a figure of pyplot: a notebook shows it, and the user closes it; sizes in inches."""
    require_matplotlib()
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), **settings)


def file_style(changed: Mapping[str, Any] | None = None) -> AbstractContextManager[None]:
    """Draw as files look, whatever the user's own style is.

    Args:
        changed: matplotlib settings that are others here, such as those of a dark ground.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib

    settings: Any = {**_FILE_STYLE, **(changed or {})}
    return matplotlib.rc_context(settings)


def given_axes(axes: Any, count: int, what: str) -> list[Any]:
    """Return the axes that a user gave, as a list.

    Raises:
        ConfigError: There are more or fewer than `count`; `what` says what they are for.
    """
    places = list(np.asarray(axes, dtype=object).ravel())
    if len(places) != count:
        raise ConfigError(f"axes holds {len(places)} Axes; expected {count}: {what}.")
    return places


def save_png(
    figure: Figure, path: Path | IO[bytes], dpi: int = 130, *, made_up: bool = False
) -> None:
    """Write a figure; the same data give the same bytes: no version of matplotlib is named.

    Args:
        figure: The figure.
        path: The file.
        dpi: Pixels per inch.
        made_up: Say in a corner that its data are synthetic.
    """
    if made_up:
        width, height = figure.get_size_inches()
        figure.text(
            1 - 0.15 / width, 0.08 / height, "SYNTHETIC: made up", fontsize=11, color=VERMILION,
            weight="bold", ha="right", va="bottom",
        )  # fmt: skip
    figure.savefig(
        path, format="png", dpi=dpi, metadata={"Software": None}, pil_kwargs={"compress_level": 6}
    )


def draw_intervals(
    axes: Axes,
    places: Sequence[float],
    values: Sequence[float | None],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
    *,
    color: str,
    label: str | None = None,
    upright: bool = False,
    marker: str = "o",
    size: float = 5.0,
) -> None:
    """Draw values with their intervals; what is None or NaN is left out.

    Args:
        axes: Where to draw.
        places: Where each of them stands on the other axis.
        values: The estimates.
        lows: Lower ends.
        highs: Upper ends.
        color: Of lines and marks.
        label: What the legend calls them.
        upright: Values go up, as over time; otherwise to the right, as in a forest plot.
        marker: matplotlib's name of the mark, with its line if it has one ("o-").
        size: Of a mark, in points.
    """
    middle, low, high = (np.array(v, dtype=float) for v in (values, lows, highs))
    lines = axes.vlines if upright else axes.hlines
    lines(places, low, high, colors=color, lw=2)
    x, y = (places, middle) if upright else (middle, places)
    axes.plot(x, y, marker, color=color, ms=size, label=label)


def draw_reference(axes: Axes, value: float, *, upright: bool = False) -> None:
    """Draw the dotted line of chance or of no difference, across the direction of the values."""
    line = axes.axhline if upright else axes.axvline
    line(value, color=GREY, lw=0.9, ls=":")
