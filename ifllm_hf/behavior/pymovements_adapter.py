"""To and from `pymovements`, an optional package for eye-movement research.

Our ticks come at irregular times, and most of its event detection needs a constant rate: give
`rate_hz` to hold samples on a regular grid. `fixations_by_dispersion` of
`behavior.features.fixations` needs none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import CHANNELS
from ifllm_hf.behavior.reading_ticks import TICK_CAP_MS
from ifllm_hf.errors import ConfigError, DataError, require_one_of

if TYPE_CHECKING:
    from pymovements import Experiment, Gaze

_TRIAL = "page_load"
_CARRIED = ("on", "char")


def to_pymovements(
    row: Mapping[str, Any],
    channel: str = "gaze",
    *,
    phases: Sequence[str] = ("reading",),
    rate_hz: float | None = None,
    position_in_px: bool = False,
    experiment: Experiment | None = None,
) -> Gaze:
    """Turn one channel of a turn into a `pymovements.Gaze`.

    Args:
        row: One row of the `pairwise` or `pointwise` config.
        channel: "gaze" or "mouse".
        phases: The phases to take. Only reading is free of the click on the rating.
        rate_hz: Put the samples on a regular grid: each is held until the next one, for at most
            1000 ms, and a gap is null after that. By default the irregular times stay.
        position_in_px: Also fill `position` with the pixels, so that event detection, which looks
            there, works without knowing screen and distance; its thresholds are pixels then.
            Otherwise give an `experiment` and call `pix2deg()`.
        experiment: Screen and eye tracker, if known.

    Returns:
        A `Gaze` with `time` (ms, page clock), `pixel`, `on`, `char` and the trial column
        `page_load`, since the clock starts anew with each load; `metadata` has the `query_id` and
        the channel. Ticks in which the channel was not recorded are left out.

    Raises:
        ConfigError: pymovements is not installed, or the channel or rate is not one.
        DataError: The row has no ticks of that channel.
    """
    try:
        import pymovements
    except ImportError as error:
        raise ConfigError(
            "pymovements is not installed, and it is needed for this conversion. "
            "Install it with `pip install pymovements`."
        ) from error
    require_one_of("channel", channel, CHANNELS)
    if rate_hz is not None and not 0 < rate_hz <= 1000:
        raise ConfigError(f"rate_hz is {rate_hz}; expected a rate above 0 and up to 1000.")
    names = {
        "t_ms": "time",
        _TRIAL: _TRIAL,
        "phase": "phase",
        f"{channel}_x_px": "x",
        f"{channel}_y_px": "y",
        **{f"{channel}_{what}": what for what in _CARRIED},
    }
    missing = [name for name in names if row.get(name) is None]
    if missing:
        raise DataError(
            f"query {row.get('query_id')}: there is no {', '.join(missing)}; expected a row of the "
            "`pairwise` or `pointwise` config."
        )
    samples = pl.DataFrame(
        {to: pl.Series(list(row[name]), strict=False) for name, to in names.items()},
        schema_overrides={"x": pl.Float64, "y": pl.Float64, "char": pl.Int64, "on": pl.String},
    )
    samples = samples.filter(
        pl.col("phase").is_in(list(phases)) & pl.col("x").is_not_null() & pl.col("y").is_not_null()
    ).drop("phase")
    if not len(samples):
        raise DataError(
            f"query {row.get('query_id')}: no tick of the {channel} in {', '.join(phases)}; take "
            "another turn or other phases."
        )
    if rate_hz is not None:
        samples = _on_grid(samples, 1000.0 / rate_hz)
    pixels = {"pixel_columns": ["x", "y"]}
    if position_in_px:
        samples = samples.with_columns(px=pl.col("x"), py=pl.col("y"))
        pixels["position_columns"] = ["px", "py"]
    return pymovements.Gaze(
        samples=samples,
        experiment=experiment,
        trial_columns=[_TRIAL],
        time_column="time",
        time_unit="ms",
        metadata={"query_id": row.get("query_id"), "channel": channel},
        **pixels,
    )


def from_pymovements(
    gaze: Gaze, channel: str = "gaze", *, on: str = "on", char: str = "char", phase: str = "reading"
) -> dict[str, Any]:
    """Turn a `pymovements.Gaze` into the tick columns of one turn.

    Add the turn's own columns (`query_id, user_id, conversation_id, turn, asked_at, response_a,
    response_b`) to get a row for `behavior_features`; the other channel stays null.

    Args:
        gaze: One recording; its trials become page loads in the order in which they come.
        channel: "gaze" or "mouse".
        on: Column of its samples that names the answer: "a", "b" or "none".
        char: Column with the code point index into that answer; null off the answers. The
            character areas of `map_to_aois` give one.
        phase: The phase to give to all ticks.

    Returns:
        `t_ms, page_load, phase, {channel}_x_px, {channel}_y_px, {channel}_on, {channel}_char` and
        nulls for the other channel, as parallel lists.

    Raises:
        ConfigError: The channel is not one.
        DataError: The samples lack time, pixels or the columns named.
    """
    require_one_of("channel", channel, CHANNELS)
    samples = gaze.samples
    missing = [name for name in ("time", "pixel", on, char) if name not in samples.columns]
    if missing:
        raise DataError(
            f"the samples have no column {', '.join(missing)}; found {samples.columns}. Expected "
            "time, pixel, and the answer and character under each sample (arguments `on`, `char`)."
        )
    trials = [gaze.trial_columns] if isinstance(gaze.trial_columns, str) else gaze.trial_columns
    load = pl.lit(0)
    if trials:
        samples = samples.with_columns(_order=pl.int_range(pl.len()))
        load = pl.col("_order").min().over(trials).rank("dense").cast(pl.Int64) - 1
    x, y = (pl.col("pixel").list.get(i, null_on_oob=True).cast(pl.Float64) for i in (0, 1))
    if gaze.n_components is not None and gaze.n_components > 2:
        raise DataError(
            f"the samples have {gaze.n_components} pixel components; expected one eye (x, y). "
            "Choose one, or average them first."
        )
    seen = {
        "x_px": x,
        "y_px": y,
        "on": pl.col(on).cast(pl.String).fill_null("none"),
        "char": pl.col(char).cast(pl.Int64),
    }
    other = next(name for name in CHANNELS if name != channel)
    columns: dict[str, Any] = samples.select(
        pl.col("time").cast(pl.Float64).alias("t_ms"),
        load.alias("page_load"),
        pl.lit(phase).alias("phase"),
        *(values.alias(f"{channel}_{what}") for what, values in seen.items()),
        *(pl.lit(None).alias(f"{other}_{what}") for what in seen),
    ).to_dict(as_series=False)
    return columns


def _on_grid(samples: pl.DataFrame, step_ms: float) -> pl.DataFrame:
    """Hold every sample until the next one, at multiples of the step, for at most the cap."""
    parts = []
    for (load,), part in samples.group_by(_TRIAL, maintain_order=True):
        t = part["time"].to_numpy()
        first, last = np.ceil(t[0] / step_ms), np.floor(t[-1] / step_ms)
        grid = np.arange(first, last + 1) * step_ms
        at = np.searchsorted(t, grid, side="right") - 1
        held = pl.Series(grid - t[at] <= TICK_CAP_MS)
        values = part.drop("time", _TRIAL)[at].select(pl.when(held).then(pl.all()))
        parts.append(
            values.with_columns(
                pl.Series("time", grid), pl.lit(load, dtype=part.schema[_TRIAL]).alias(_TRIAL)
            )
        )
    return pl.concat(parts)
