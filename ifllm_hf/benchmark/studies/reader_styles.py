"""Readers differ: clusters of reading and pointing styles, and whether the clusters are real.

A reader's style is the mean of a few habits over all their turns, each taken relative to other
turns of the same kind. Styles are clustered by Ward's method; how stable the clusters are is
measured in two ways, each beside what the same procedure gives where there are no clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.errors import DataError
from ifllm_hf.metrics.weighted import FloatArray

IntArray = npt.NDArray[np.int64]

# Column of the features, mean over both answers where it has sides -> how it reads in a sentence.
HABITS: dict[str, str] = {
    "reading_ms": "reading time",
    "gaze_dwell_ms_per_char": "gaze time per character",
    "gaze_coverage": "share of the answer looked at",
    "gaze_speed_chars_per_s": "gaze speed",
    "gaze_reread_share": "gaze going back",
    "gaze_switches_per_min": "gaze switching sides",
    "mouse_dwell_share": "mouse on the text",
    "mouse_coverage": "share of the answer pointed at",
    "mouse_speed_chars_per_s": "mouse speed",
    "mouse_idle_share": "mouse at rest",
    "mouse_reread_share": "mouse going back",
    "mouse_switches_per_min": "mouse switching sides",
    "mouse_gaze_agreement": "gaze and mouse on the same answer",
}
_LOGARITHMS = ("_ms", "_per_char", "_per_s", "_per_min")
_FEWEST_TURNS = 4
_MOST_CLUSTERS = 5


@dataclass(frozen=True)
class Styles:
    """The readers that have enough turns, and their habits.

    Attributes:
        users: Reader of every row, shape (readers,).
        profile: Habits in standard deviations over readers, shape (readers, habits).
        halves: The same from every second conversation, and from the others; NaN where a reader
            has one conversation. Shape (2, readers, habits).
        too_few: Readers left out for having fewer than four turns with behaviour.
    """

    users: list[str]
    profile: FloatArray
    halves: FloatArray
    too_few: int


@dataclass(frozen=True)
class Clusters:
    """Readers in groups.

    Attributes:
        of_reader: Cluster of every reader, the largest first, shape (readers,).
        centres: Mean profile, shape (clusters, habits).
        bootstrap: Mean adjusted Rand index between these clusters and those of readers drawn with
            replacement; 1: always the same, 0: as by chance.
        bootstrap_null: The same for readers drawn from one normal distribution with the same
            covariance, thus without clusters: mean, and 95th percentile.
        same_in_half: Share of readers whose two halves fall into the same cluster.
        same_by_chance: That share if halves of different readers are paired.
        by_k: `bootstrap` for every number of clusters that was tried.
    """

    of_reader: IntArray
    centres: FloatArray
    bootstrap: float
    bootstrap_null: tuple[float, float]
    same_in_half: float
    same_by_chance: float
    by_k: dict[int, float]

    @property
    def real(self) -> bool:
        """Whether the clusters are more stable than clusters cut out of one cloud."""
        return self.bootstrap > self.bootstrap_null[1]


def reader_styles(turns: pl.DataFrame) -> Styles:
    """Describe how each reader reads.

    Args:
        turns: One row per turn of both kinds with the columns of `behavior_features` joined.

    Raises:
        DataError: Fewer than 8 readers have four turns with behaviour.
    """
    of = turns.select("user_id", "kind", at="conversation_id")
    habits = of.with_columns([_habit(turns, name) for name in HABITS])
    names = list(HABITS)
    habits = habits.filter(pl.any_horizontal(pl.col(n).is_not_nan() for n in names))
    habits = habits.with_columns(pl.col(n).fill_nan(None) for n in names)
    # A turn with one answer is read otherwise than one with two: compare like with like.
    habits = habits.with_columns(pl.col(n) - pl.col(n).mean().over("kind") for n in names)
    conversation = pl.col("at").rank("dense").over("user_id") % 2
    habits = habits.with_columns(half=conversation.cast(pl.Int64))
    enough = habits.group_by("user_id").len().filter(pl.col("len") >= _FEWEST_TURNS)
    users = sorted(enough["user_id"].to_list())
    if len(users) < 8:
        raise DataError(
            f"{len(users)} readers have at least {_FEWEST_TURNS} turns with behaviour; styles need "
            "8 readers or more. Use more data"
        )
    raw = _profile(habits, users)
    centre, spread = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    halves = [_profile(habits.filter(pl.col("half") == half), users) for half in (0, 1)]
    return Styles(
        users=users,
        profile=np.nan_to_num((raw - centre) / spread),
        halves=(np.stack(halves) - centre) / spread,
        too_few=turns["user_id"].n_unique() - len(users),
    )


def _habit(turns: pl.DataFrame, name: str) -> pl.Series:
    sides = [c for c in (name, f"{name}_a", f"{name}_b") if c in turns.columns]
    value = turns.select(pl.mean_horizontal(pl.col(c).fill_nan(None) for c in sides)).to_series()
    if any(part in name for part in _LOGARITHMS):
        value = (value + 1.0).log()
    return value.cast(pl.Float64).fill_null(float("nan")).alias(name)


def _profile(habits: pl.DataFrame, users: list[str]) -> FloatArray:
    """Return every reader's mean of each habit, shape (readers, habits); NaN where unknown."""
    mean = habits.group_by("user_id").agg(pl.col(n).mean() for n in HABITS)
    order = pl.DataFrame({"user_id": users})
    joined = order.join(mean, on="user_id", how="left", maintain_order="left")
    columns = [pl.col(n).cast(pl.Float64).fill_null(float("nan")) for n in HABITS]
    return np.asarray(joined.select(columns).to_numpy(), dtype=np.float64)


def find_clusters(styles: Styles, *, draws: int = 200, seed: int = 0) -> Clusters:
    """Group readers by style; the number of groups is the one whose bootstrap is most stable.

    Args:
        styles: Output of `reader_styles`.
        draws: Bootstrap draws, for the data and for the cloud without clusters.
        seed: Seed of the draws.
    """
    rng = np.random.default_rng(seed)
    x = styles.profile
    tried = range(2, min(_MOST_CLUSTERS, len(x) // 4) + 1)
    by_k = {k: _stability(x, k, draws, rng) for k in tried}
    k = max(by_k, key=lambda n: (round(by_k[n], 3), -n))
    clouds = max(20, draws // 10)
    covariance = np.cov(x, rowvar=False)
    null = []
    for _ in range(clouds):
        cloud = rng.multivariate_normal(np.zeros(x.shape[1]), covariance, len(x), method="eigh")
        # The number of clusters is chosen in the cloud as it is in the data.
        null.append(max(_stability(cloud, n, clouds, rng) for n in tried))
    centres = _centres(x, k)
    size = np.bincount(_nearest(x, centres), minlength=len(centres))
    centres = centres[np.argsort(-size, kind="stable")]
    first, second = (_nearest(np.nan_to_num(half), centres) for half in styles.halves)
    both = ~np.isnan(styles.halves).all(axis=2).any(axis=0)
    share = [np.bincount(part[both], minlength=k) / max(1, both.sum()) for part in (first, second)]
    return Clusters(
        of_reader=_nearest(x, centres),
        centres=centres,
        bootstrap=by_k[k],
        bootstrap_null=(float(np.mean(null)), float(np.quantile(null, 0.95))),
        same_in_half=float((first == second)[both].mean()) if both.any() else float("nan"),
        same_by_chance=float(share[0] @ share[1]),
        by_k=by_k,
    )


def _stability(x: FloatArray, k: int, draws: int, rng: np.random.Generator) -> float:
    from sklearn.metrics import adjusted_rand_score

    reference = _nearest(x, _centres(x, k))
    drawn = (rng.integers(0, len(x), len(x)) for _ in range(draws))
    again = (_nearest(x, _centres(x[rows], k)) for rows in drawn)
    return float(np.mean([adjusted_rand_score(reference, groups) for groups in again]))


def _centres(x: FloatArray, k: int) -> FloatArray:
    """Return the means of k groups by Ward's method, which has no random start."""
    from scipy.cluster.hierarchy import fcluster, ward

    group = fcluster(ward(x), k, criterion="maxclust")
    # Drawn readers repeat, so a draw may hold fewer different ones than clusters.
    return np.stack([x[group == g].mean(axis=0) for g in np.unique(group)])


def _nearest(x: FloatArray, centres: FloatArray) -> IntArray:
    distance = ((x[:, None, :] - centres[None]) ** 2).sum(axis=2)
    return np.asarray(distance.argmin(axis=1), dtype=np.int64)
