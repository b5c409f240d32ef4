"""How much the true score rises, with intervals over seeds and readers; differences and ratios.

A seed's rise is the mean, over the answers to its held-out readers' questions, of the true score
after training less that before; the rise of a cell is the mean over its seeds. The bootstrap draws
seeds with replacement, and in each the held-out readers; all cells get the same draws, so that
differences and ratios are paired by seed and reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ifllm_hf.alignment.known_truth.results_file import Record
from ifllm_hf.errors import DataError
from ifllm_hf.metrics.core import Interval
from ifllm_hf.metrics.weighted import FloatArray

LEVEL = 0.95
Setting = tuple[Any, ...]
"""What is run with several seeds; a cell without its own: source, share, strength, loss, damage."""


def setting_of(record: Mapping[str, Any]) -> Setting:
    """Return what a record has in common with those of other seeds."""
    return (
        record["source"],
        record["share"],
        record["strength"],
        record["loss"],
        record["damage"],
    )


@dataclass(frozen=True)
class RiseRatio:
    """A rise divided by another one; `undefined` says why there is none."""

    value: Interval | None
    undefined: str | None = None


class Rises:
    """The lines of one family of cells, ready to be compared."""

    def __init__(
        self,
        records: Sequence[Record],
        *,
        draws: int = 4000,
        seed: int = 0,
        by: Callable[[Record], Setting] = setting_of,
    ) -> None:
        """Sort the lines by setting and seed, and draw seeds and readers once for all of them.

        Args:
            records: Lines of the file of results, of one family.
            draws: Bootstrap draws.
            seed: Of the draws.
            by: Returns what a line has in common with those of other seeds.

        Raises:
            DataError: Lines of one seed have other readers.
        """
        self.by_setting: dict[Setting, dict[int, Record]] = {}
        readers: dict[int, list[str]] = {}
        for record in records:
            self.by_setting.setdefault(by(record), {})[record["seed"]] = record
            names = readers.setdefault(record["seed"], sorted(record["readers"]))
            if names != sorted(record["readers"]):
                raise DataError(
                    f"two lines of seed {record['seed']} have other held-out readers; they come "
                    "from different releases: remove one of them from the file of results"
                )
        self.readers = readers
        self._draws, self._seed = draws, seed
        # A stream for each seed: what is drawn for one depends on no other.
        self._weights = {s: self._drawn(names, s) for s, names in readers.items()}

    def _drawn(self, names: Sequence[str], seed: int) -> FloatArray:
        """Return how often each reader of a seed is drawn, shape (1 + draws, readers)."""
        rng = np.random.default_rng([self._seed, seed])
        counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), self._draws)
        return np.vstack([np.ones(len(names)), counts])

    def _of_seed(self, record: Record) -> FloatArray:
        """Return the rise of one seed as it is, then in every draw."""
        sums = np.array([record["readers"][name] for name in self.readers[record["seed"]]])
        weights = self._weights[record["seed"]]
        return np.asarray(weights @ (sums[:, 2] - sums[:, 1]) / (weights @ sums[:, 0]))

    def _over_seeds(self, setting: Setting, seeds: Sequence[int]) -> FloatArray:
        """Return the mean over seeds as it is, then in every draw of seeds and readers."""
        each = np.array([self._of_seed(self.by_setting[setting][seed]) for seed in seeds])
        rng = np.random.default_rng([self._seed, len(seeds), 1])
        counts = rng.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), self._draws)
        weights = np.vstack([np.ones(len(seeds)), counts]) / len(seeds)
        return np.asarray((weights * each.T).sum(axis=1))

    def seeds(self, *settings: Setting) -> list[int]:
        """Return the seeds that all these settings have."""
        each = [set(self.by_setting.get(setting, ())) for setting in settings]
        return sorted(set.intersection(*each))

    def _interval(self, values: FloatArray, seeds: Sequence[int]) -> Interval:
        readers = sum(len(self.readers[seed]) for seed in seeds)
        ends = (1 - LEVEL) / 2, (1 + LEVEL) / 2
        low, high = np.quantile(values[1:], ends) if readers > 1 else (np.nan, np.nan)
        return Interval(float(values[0]), float(low), float(high), LEVEL, readers, 0)

    def rise(self, setting: Setting) -> Interval:
        """Return the rise of the true score; `groups` are the readers of all its seeds."""
        seeds = self.seeds(setting)
        return self._interval(self._over_seeds(setting, seeds), seeds)

    def difference(self, setting: Setting, versus: Setting) -> Interval | None:
        """Return the rise less that of another setting, of the seeds that both have; None: none."""
        seeds = self.seeds(setting, versus)
        if not seeds:
            return None
        values = self._over_seeds(setting, seeds) - self._over_seeds(versus, seeds)
        return self._interval(values, seeds)

    def ratio(
        self, setting: Setting, versus: Setting, nulls: tuple[Setting, Setting] | None = None
    ) -> RiseRatio:
        """Return the rise divided by that of another setting.

        Where the interval of the divisor does not lie above 0, a ratio says nothing.

        Args:
            setting: Whose rise is divided.
            versus: Whose rise it is divided by.
            nulls: Settings whose rises are taken off first: off `setting`, and off `versus`.
        """
        seeds = self.seeds(setting, versus, *(nulls or ()))
        if not seeds:
            return RiseRatio(None, "no seed has all of them")
        above, below = (self._over_seeds(one, seeds) for one in (setting, versus))
        if nulls is not None:
            above = above - self._over_seeds(nulls[0], seeds)
            below = below - self._over_seeds(nulls[1], seeds)
        divisor = self._interval(below, seeds)
        if not divisor.low > 0:
            return RiseRatio(
                None,
                f"not defined: the rise that it would be divided by, {divisor.estimate:+.2f} "
                f"[{divisor.low:.2f}, {divisor.high:.2f}], is not surely above 0",
            )
        values = above / np.where(below == 0, np.nan, below)
        kept = np.concatenate([values[:1], values[1:][np.isfinite(values[1:])]])
        return RiseRatio(self._interval(kept, seeds))

    def labels(self, setting: Setting) -> dict[str, float]:
        """Return `seeds`, `pairs` of a seed, and the shares `right` and `liked` over all seeds."""
        found = [record["labels"] for record in self.by_setting[setting].values()]
        pairs, decided, right, liked = (
            sum(one[name] for one in found) for name in ("pairs", "decided", "right", "liked")
        )
        return {
            "seeds": len(found),
            "pairs": pairs / len(found),
            "right": right / decided if decided else float("nan"),
            "liked": liked / pairs if pairs else float("nan"),
        }

    def reliability(self, setting: Setting) -> list[dict[str, Any]]:
        """Return the bins of confidence by origin, summed over seeds; see `RightLabels.bins`."""
        sums: dict[tuple[str, float], dict[str, Any]] = {}
        for record in self.by_setting[setting].values():
            for one in record["labels"]["bins"]:
                key = one["origin"], one["low"]
                into = sums.setdefault(key, {"origin": key[0], "low": key[1]})
                for name in ("pairs", "confidence", "liked", "decided", "right"):
                    into[name] = into.get(name, 0) + one[name]
        return [sums[key] for key in sorted(sums)]
