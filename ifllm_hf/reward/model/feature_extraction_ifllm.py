"""From ticks to the behaviour tensors of the reward model, with their normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from transformers.feature_extraction_utils import FeatureExtractionMixin

from .behavior_arrays import (
    END,
    TICK_MEASURES,
    TOKEN_MEASURES,
    BoolArray,
    Float32Array,
    columns_of,
    list_rows,
    tick_arrays,
    token_arrays,
)
from .behavior_ticks import CHANNELS as RECORDED
from .behavior_ticks import read_ticks
from .configuration_ifllm import CHANNELS, TOKEN_CHANNELS
from .data_error import DataError
from .token_alignment import AnswerTokens

_TOKEN_NAMES = tuple(f"{c}_{m}" for c in RECORDED for m in TOKEN_MEASURES)
_TICK_NAMES = (*(f"{c}_{m}" for c in RECORDED for m in TICK_MEASURES), END)
# Where the pointer is on the screen, and what lies there, tells which button was clicked.
_WALLED = {"surface", "phase", "epoch_ms"} | {
    f"{channel}_{what}"
    for channel in RECORDED
    for what in (
        *("x_px", "y_px", "rel_x_px_a", "rel_y_px_a", "rel_x_px_b", "rel_y_px_b"),
        *("on", "char", "caret_utf16", "window", "surface"),
    )
}

Extracted = dict[str, list[Any]]


class IFLLMFeatureExtractor(FeatureExtractionMixin):  # type: ignore[misc]
    """Turns parallel tick lists into tensors, one row per answer.

    Values are transformed and then standardised with the statistics that `fit` found on training
    rows: milliseconds become log(1 + seconds), counts log(1 + count); shares and 0/1 stay as they
    are. A value that was not observed is 0 and masked.

    Attributes:
        token_channels: Names of the channels of `token_behavior`, in order.
        channels: Names of the channels of `trajectory`, in order; names that are not ours are
            numeric tick columns (a heart rate, say); of columns per answer, `x_a` and `x_b`, those
            of the answer that is scored and of the other one are `x_this` and `x_other`.
        max_ticks: Longest trajectory; longer ones are joined into so many groups of equal size,
            with the real time of each group's first tick.
        step_ms: Join ticks within steps of this length first (recordings far above 13 Hz).
        statistics: By channel, mean and standard deviation of the transformed value.
    """

    model_input_names = [
        "token_behavior",
        "token_behavior_mask",
        "trajectory",
        "trajectory_observed",
        "trajectory_time_ms",
        "trajectory_mask",
    ]

    def __init__(
        self,
        token_channels: Sequence[str] = TOKEN_CHANNELS,
        channels: Sequence[str] = CHANNELS,
        max_ticks: int = 1024,
        step_ms: float | None = None,
        statistics: Mapping[str, Sequence[float]] | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the names and keep the settings.

        Raises:
            DataError: A channel is unknown, twice there, or behind the wall; or the statistics are
                not those of the channels.
        """
        super().__init__(**kwargs)
        self.token_channels = list(token_channels)
        self.channels = list(channels)
        self.max_ticks = max_ticks
        self.step_ms = step_ms
        self.statistics = {name: list(pair) for name, pair in (statistics or {}).items()}
        self._check_settings()

    def _check_settings(self) -> None:
        for field in ("token_channels", "channels"):
            names = getattr(self, field)
            if len(set(names)) < len(names):
                raise DataError(f"'{field}' names a channel twice: {names}.")
        unknown = [name for name in self.token_channels if name not in _TOKEN_NAMES]
        if unknown:
            raise DataError(
                f"'token_channels' has {unknown}; expected some of {', '.join(_TOKEN_NAMES)}."
            )
        walled = [name for name in self.extra_channels if not _WALLED.isdisjoint(columns_of(name))]
        if walled:
            raise DataError(
                f"'channels' has {walled}: positions on the screen and what lies there see the "
                "click on the rating and feed no model. Expected measurements of the reader, or "
                f"some of {', '.join(_TICK_NAMES)}."
            )
        sided = [name for name in self.extra_channels if name.endswith(("_a", "_b"))]
        if sided:
            raise DataError(
                f"'channels' has {sided}: an answer does not know its side. Expected "
                f"'{sided[0][:-2]}_this' or '{sided[0][:-2]}_other', the column of the answer that "
                "is scored or of the other one."
            )
        wrong = sorted(set(self.statistics) ^ set(self.normalised)) if self.statistics else []
        if wrong:
            raise DataError(
                f"the saved statistics do not fit the channels: {wrong} on one side only. Fit the "
                "processor again, or load it with the channels it was saved with."
            )
        if self.max_ticks < 1 or (self.step_ms is not None and self.step_ms <= 0):
            raise DataError(
                f"max_ticks is {self.max_ticks} and step_ms {self.step_ms}; expected at least 1, "
                "and a positive number or None."
            )

    @property
    def extra_channels(self) -> list[str]:
        """Channels that are tick columns of the data."""
        return [name for name in self.channels if name not in _TICK_NAMES]

    @property
    def extra_columns(self) -> list[str]:
        """The tick columns that `extra_channels` read."""
        return list(dict.fromkeys(c for name in self.extra_channels for c in columns_of(name)))

    @property
    def normalised(self) -> list[str]:
        """Channels that `fit` standardises."""
        return [
            *self.token_channels,
            *(name for name in self.channels if name == END or name not in _TICK_NAMES),
        ]

    def __call__(
        self,
        ticks: Mapping[str, Any],
        answer_chars: Sequence[Sequence[int | None]],
        tokens: AnswerTokens | None = None,
        *,
        include_contaminated_ticks: bool = False,
    ) -> Extracted:
        """Extract the behaviour of a batch of turns.

        Args:
            ticks: By column, one list of ticks per turn (or None for a turn without).
            answer_chars: Per turn, the length of each answer in code points; None if unknown.
            tokens: The answers' tokens, in the order of the rows; None leaves `token_behavior` out.
            include_contaminated_ticks: Read ticks behind the end of reading, which see the click on
                the rating. For ablations only.

        Returns:
            By name, one array per answer, turn after turn, unpadded: `token_behavior` and
            `token_behavior_mask` [tokens, channels], `trajectory` and `trajectory_observed` [time,
            channels], `trajectory_time_ms` [time]. Float32 and bool.

        Raises:
            DataError: Ticks out of order, lists of unequal length, characters beyond the answer, or
                NaN where there must be a number; names the row and the field.
        """
        return self._extract(
            ticks, answer_chars, tokens, include_contaminated_ticks, self._standardise
        )

    def fit(
        self,
        batches: Iterable[tuple[Mapping[str, Any], Any, AnswerTokens | None]],
        *,
        include_contaminated_ticks: bool = False,
    ) -> None:
        """Find mean and standard deviation of every normalised channel, on training rows only.

        Args:
            batches: Arguments of `__call__`.
            include_contaminated_ticks: As in `__call__`.

        Raises:
            DataError: A channel is not observed in any row.
        """
        sums = {name: np.zeros(3) for name in self.normalised}  # count, sum, sum of squares

        def gather(values: Float32Array, observed: BoolArray, names: Sequence[str]) -> Float32Array:
            for name, value, mask in zip(names, values, observed, strict=True):
                if name in sums:
                    seen = value[mask].astype(np.float64)
                    sums[name] += len(seen), seen.sum(), (seen**2).sum()
            return values

        for ticks, answer_chars, tokens in batches:
            self._extract(ticks, answer_chars, tokens, include_contaminated_ticks, gather)
        unseen = [name for name, (count, _, _) in sums.items() if not count]
        if unseen:
            raise DataError(
                f"channels {unseen} were observed in none of the rows. Check the names of the tick "
                "columns, or leave these channels out."
            )
        self.statistics = {}
        for name, (count, total, squares) in sums.items():
            mean = total / count
            deviation = float(np.sqrt(max(squares / count - mean**2, 0.0)))
            self.statistics[name] = [float(mean), deviation if deviation > 1e-6 else 1.0]

    def _extract(
        self,
        ticks: Mapping[str, Any],
        answer_chars: Sequence[Sequence[int | None]],
        tokens: AnswerTokens | None,
        every_phase: bool,
        finish: Any,
    ) -> Extracted:
        read = read_ticks(
            ticks, answer_chars, self.extra_columns, include_contaminated_ticks=every_phase
        )
        rows = list_rows(answer_chars)
        out: Extracted = {}
        if tokens is not None and self.token_channels:
            values, observed, start = token_arrays(read, rows, tokens, self.token_channels)
            values = finish(_transform(values, self.token_channels), observed, self.token_channels)
            out["token_behavior"] = _split(values, start)
            out["token_behavior_mask"] = _split(observed, start)
        if self.channels:
            values, observed, time, start = tick_arrays(
                read, rows, self.channels, self.max_ticks, self.step_ms
            )
            values = finish(_transform(values, self.channels), observed, self.channels)
            out["trajectory"] = _split(values, start)
            out["trajectory_observed"] = _split(observed, start)
            out["trajectory_time_ms"] = _split(time.astype(np.float32), start)
        return out

    def _standardise(
        self, values: Float32Array, observed: BoolArray, names: Sequence[str]
    ) -> Float32Array:
        if not self.statistics:
            return values
        for name, value, seen in zip(names, values, observed, strict=True):
            if name in self.statistics:
                mean, deviation = self.statistics[name]
                value -= np.float32(mean)
                value /= np.float32(deviation)
                value *= seen
        return values


def _transform(values: Float32Array, names: Sequence[str]) -> Float32Array:
    """Bring heavy tails in: log(1 + seconds) of our times, log(1 + count) of counts."""
    for name, value in zip(names, values, strict=True):
        if name in _TOKEN_NAMES or name == END:
            if name.endswith("_ms"):
                value /= np.float32(1000.0)
            np.log1p(value, out=value)
    return values


def _split(values: Any, start: Any) -> list[Any]:
    """Cut `[..., all]` into one array `[length, ...]` per row."""
    edges = start.tolist()
    return [values.T[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]


IFLLMFeatureExtractor.register_for_auto_class()
