"""Readers differ: `ifllm benchmark --readers`.

Styles of reading and pointing, whether preference shows more in one style than in another, and what
gaze and mouse each go with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from ifllm_hf.benchmark.protocol.prepared_turns import load_prepared, source_hash
from ifllm_hf.benchmark.protocol.rows import Labelled, labelled
from ifllm_hf.benchmark.protocol.runner import cross_validate
from ifllm_hf.benchmark.protocol.scores import Record, Scored, difference, score
from ifllm_hf.benchmark.report.report import (
    check_report_place,
    finite,
    markdown_rows,
    shown_number,
    to_json,
)
from ifllm_hf.benchmark.studies.channel_links import channel_links, habit_links, outcomes
from ifllm_hf.benchmark.studies.reader_styles import (
    HABITS,
    Clusters,
    Styles,
    find_clusters,
    reader_styles,
)
from ifllm_hf.errors import OutputError
from ifllm_hf.files import write_whole
from ifllm_hf.metrics import core
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines.length_rule import LengthRule

_TELLING_HABITS = 4
# Claim, outcome that stands for it, channel that should go with it more than the other one does.
_CLAIMS = (
    ("gaze tells cognitive load", "understanding gained", "gaze"),
    ("the mouse tells immediate reaction", "extreme rating", "mouse"),
)


@dataclass
class ReadersRun:
    """What `run_readers` found.

    Attributes:
        styles: Habits of every reader.
        clusters: Readers in groups.
        signal: How far preference shows, per cluster: `cluster, readers` and the scores.
        spread: Between clusters: `spread` (largest less smallest AUC), `p` (share of random
            groupings of the same sizes with as large a spread), `permutations`.
        habits: Output of `habit_links` for every outcome.
        channels: Output of `channel_links` for every outcome.
    """

    styles: Styles
    clusters: Clusters
    signal: list[Record]
    spread: Record
    habits: list[Record]
    channels: list[Record]

    @property
    def records(self) -> list[Record]:
        """Everything as JSON types, each row marked by `part`."""
        found = self.clusters
        about: Record = {
            "part": "clusters",
            "readers": len(self.styles.users),
            "readers_left_out": self.styles.too_few,
            "clusters": len(found.centres),
            "bootstrap_stability": found.bootstrap,
            "bootstrap_stability_without_clusters": found.bootstrap_null[0],
            "bootstrap_stability_without_clusters_p95": found.bootstrap_null[1],
            "same_cluster_in_other_half": found.same_in_half,
            "same_cluster_by_chance": found.same_by_chance,
            "more_stable_than_one_cloud": found.real,
            "stability_by_k": {str(k): v for k, v in found.by_k.items()},
        }
        centres: list[Record] = [
            {"part": "style", "cluster": k + 1, **dict(zip(HABITS, map(float, c), strict=True))}
            for k, c in enumerate(found.centres)
        ]
        return finite(
            [
                about,
                *centres,
                *({"part": "signal", **r} for r in self.signal),
                {"part": "signal between clusters", **self.spread},
                *({"part": "habit", **r} for r in self.habits),
                *({"part": "channel", **r} for r in self.channels),
            ]
        )

    def text(self) -> str:
        """Return the findings as Markdown that also reads well in a terminal."""
        return "\n\n".join(
            [
                "## Styles of reading and pointing",
                _stability_text(self.styles, self.clusters),
                _style_table(self.clusters),
                "## Does preference show more in one style?",
                _signal_text(self.signal, self.spread),
                "## What gaze and mouse go with",
                _channel_table(self.channels),
                *(_verdict(*claim, self.channels) for claim in _CLAIMS),
                _habit_text(self.habits),
            ]
        )


def run_readers(
    data: Path | str,
    *,
    out: Path | str | None = None,
    seed: int = 0,
    draws: int = 2000,
    repeats: int = 5,
    draw: Callable[[Sequence[Record], Path], None] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> ReadersRun:
    """Compare readers on a prepared folder.

    Args:
        data: A folder written by `ifllm prepare`.
        out: Folder for `readers.md`, `readers.json` and the figure; none by default.
        seed: Seed of splits, clusters and bootstrap.
        draws: Bootstrap draws over readers.
        repeats: Repeats of the `worker` protocol.
        draw: Draws the habits into a file: `ifllm_hf.plot.benchmark_report.draw_reader_habits`;
            without it there is no figure.
        overwrite: Whether a report in `out` may be replaced.
        progress: Whether to draw progress bars on stderr.

    Raises:
        TableError: `data` is not a prepared folder.
        DataError: Too few readers or labels.
        OutputError: A report stands in `out` already, or it cannot be written.
    """
    folder = None if out is None else Path(out)
    if folder is not None:
        check_report_place(folder / "readers.md", overwrite=overwrite)
    cache = None if folder is None else folder / "cache" / source_hash()
    rows = load_prepared(data, cache, ablations=False)
    turns = rows.turns
    styles = reader_styles(turns)
    clusters = find_clusters(styles, draws=max(50, draws // 10), seed=seed)
    pairs = labelled(turns)
    predictions = cross_validate(
        baselines.default_model(),
        pairs,
        "worker",
        repeats=repeats,
        seed=seed,
        progress=progress,
        swap=rows.swap,
    )
    signal, spread = _signal(pairs, predictions, styles, clusters, draws, seed)
    found = outcomes(turns)
    links = partial(channel_links, repeats=repeats, draws=draws, seed=seed)
    run = ReadersRun(
        styles=styles,
        clusters=clusters,
        signal=signal,
        spread=spread,
        habits=[r for o in found for r in habit_links(o, draws=draws, seed=seed)],
        channels=[r for o in found for r in links(o)],
    )
    if folder is not None:
        _write(run, folder, draw)
    return run


def _signal(
    data: Labelled,
    predictions: pl.DataFrame,
    styles: Styles,
    clusters: Clusters,
    draws: int,
    seed: int,
) -> tuple[list[Record], Record]:
    """Score predictions per cluster; the model was trained on readers of all clusters."""
    rule = cross_validate(LengthRule(), data, "worker", repeats=1, seed=seed, progress=False)
    scored, length = Scored(predictions, data), Scored(rule, data)
    cluster = dict(zip(styles.users, clusters.of_reader.tolist(), strict=True))
    of_row = np.array([cluster.get(user, -1) for user in scored.groups])
    records = []
    for k in range(len(clusters.centres)):
        ids = scored.rows["query_id"].filter(pl.Series(of_row == k))
        if not len(ids):
            continue
        mine, theirs = scored.keep(ids), length.keep(ids)
        about: Record = {"cluster": k + 1, "readers": int((clusters.of_reader == k).sum())}
        about |= {"model": baselines.default_model().name, "protocol": "worker"}
        about |= score(mine, draws=draws, seed=seed)
        records.append(about | difference(mine, theirs, "length", draws=draws, seed=seed))
    return records, _permuted(scored, cluster, len(clusters.centres), draws, seed)


def _permuted(
    scored: Scored, cluster: dict[str, int], clusters: int, draws: int, seed: int
) -> Record:
    """Compare the spread of AUC between clusters with that of random groups of the same sizes."""
    users, index = np.unique(scored.groups, return_inverse=True)
    mine = np.array([cluster.get(user, -1) for user in users])
    rng = np.random.default_rng(seed)

    def spread(of_user: np.ndarray) -> float:
        values = []
        for k in range(clusters):
            rows = of_user[index] == k
            if rows.any() and len(np.unique(scored.y[rows])) == 2:
                values.append(core.roc_auc(scored.y[rows], scored.p[rows]))
        return max(values) - min(values) if len(values) > 1 else float("nan")

    inside = np.flatnonzero(mine >= 0)
    observed, larger = spread(mine), 0
    permutations = max(100, draws // 2)
    for _ in range(permutations):
        shuffled = mine.copy()
        shuffled[inside] = rng.permutation(mine[inside])
        larger += spread(shuffled) >= observed
    p = (1 + larger) / (1 + permutations)
    return {"spread": observed, "p": p, "permutations": permutations}


def _write(
    run: ReadersRun, folder: Path, draw: Callable[[Sequence[Record], Path], None] | None
) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if draw is not None:
            draw(run.habits, folder / "readers.png")
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written ({error})") from error
    write_whole(folder / "readers.json", to_json(run.records) + "\n")
    head = (
        "# Readers differ\n\nMade by `ifllm benchmark --readers`. Intervals: 95 %, bootstrap over "
        "readers."
    )
    figure = "" if draw is None else "\n\n![Habits and outcomes, within readers](readers.png)"
    write_whole(folder / "readers.md", f"{head}\n\n{run.text()}{figure}\n")


def _between(record: Record, value: str, low: str = "low", high: str = "high") -> str:
    sign = value in ("r", "d_length")
    ends = f"[{shown_number(record[low], sign=sign)}, {shown_number(record[high], sign=sign)}]"
    return f"{shown_number(record[value], sign=sign)} {ends}"


def _stability_text(styles: Styles, found: Clusters) -> str:
    k = len(found.centres)
    verdict = (
        "the groups are more than slices of one cloud"
        if found.real
        else "so these are slices of a continuum, not kinds of readers"
    )
    return (
        f"{len(styles.users)} readers with at least four turns with behaviour ({styles.too_few} "
        f"with fewer left out), {len(HABITS)} habits, Ward's method with {k} clusters (the most "
        f"stable of {min(found.by_k)} to {max(found.by_k)}). Stability, the adjusted Rand index "
        f"against clusters of readers drawn again: {found.bootstrap:.2f}; one normal cloud of the "
        f"same covariance gives {found.bootstrap_null[0]:.2f}, up to {found.bootstrap_null[1]:.2f} "
        f"in 95 of 100 cases: {verdict}. From one half of their conversations to the other "
        f"{found.same_in_half:.0%} of the readers stay in their cluster (by chance "
        f"{found.same_by_chance:.0%})."
    )


def _style_table(found: Clusters) -> str:
    names = list(HABITS)
    size = np.bincount(found.of_reader, minlength=len(found.centres))
    rows = []
    for k, centre in enumerate(found.centres):
        order = np.argsort(-np.abs(centre))[:_TELLING_HABITS]
        telling = ", ".join(f"{HABITS[names[i]]} {centre[i]:+.1f}" for i in order)
        rows.append([str(k + 1), str(size[k]), telling])
    return markdown_rows(["cluster", "readers", "most telling habits (SD from the mean)"], rows)


def _signal_text(signal: Sequence[Record], spread: Record) -> str:
    header = ["cluster", "n", "readers", "accuracy", "AUC", "gain over length"]
    rows = [
        [
            str(r["cluster"]),
            str(r["n"]),
            str(r["workers"]),
            _between(r, "accuracy"),
            _between(r, "auc", "auc_low", "auc_high"),
            _between(r, "d_length", "d_length_low", "d_length_high"),
        ]
        for r in signal
    ]
    if not np.isfinite(spread["spread"]):
        said = "Labelled pairs lie in one cluster only: nothing to compare."
    else:
        said = (
            f"AUC differs by {spread['spread']:.3f} between clusters; random groups of the same "
            f"sizes differ as much with p = {spread['p']:.3f} ({spread['permutations']} draws)."
        )
    model = signal[0]["model"] if signal else ""
    return f"Model *{model}*, held out by reader.\n\n{markdown_rows(header, rows)}\n\n{said}"


def _channel_table(records: Sequence[Record]) -> str:
    rows = [
        [
            r["outcome"],
            r["channel"] + (" + length" if r["channel"] in ("gaze", "mouse") else ""),
            str(r["n"]),
            str(r["workers"]),
            _between(r, "r"),
        ]
        for r in records
    ]
    header = ["outcome", "predicted from", "n", "readers", "rank correlation [95 %]"]
    note = (
        "Ridge models of a channel's habits on an answer, held out by reader; the correlation is "
        "taken within readers."
    )
    return f"{note}\n\n{markdown_rows(header, rows)}"


def _verdict(claim: str, outcome: str, channel: str, records: Sequence[Record]) -> str:
    """Say whether the data bear a claim out, by the paired difference between the channels."""
    found = {r["channel"]: r for r in records if r["outcome"] == outcome}
    if not found:
        return f"*{claim[0].upper()}{claim[1:]}*: the data have no {outcome} to test it on."
    other = "mouse" if channel == "gaze" else "gaze"
    gap = found["gaze - mouse"]
    clear = gap["low"] > 0 or gap["high"] < 0
    first = "gaze" if gap["r"] > 0 else "mouse"
    if found[channel]["low"] > 0 and clear and first == channel:
        said = "borne out"
    elif found[other]["low"] > 0 and clear and first == other:
        said = f"contradicted: the {other} goes with it more"
    elif found[channel]["low"] > 0:
        said = f"not borne out: the {channel} goes with it, but not clearly more than the {other}"
    else:
        said = f"not borne out: the {channel} does not predict it for readers never seen"
    return (
        f"*{claim[0].upper()}{claim[1:]}* (tested on: {outcome}): {said}. {channel.capitalize()} "
        f"{_between(found[channel], 'r')}, gaze less mouse {_between(gap, 'r')}."
    )


def _habit_text(records: Sequence[Record]) -> str:
    clear = [r for r in records if r["low"] > 0 or r["high"] < 0]
    lines = [
        f"* {r['outcome']}: {r['channel']} {r['habit']} {_between(r, 'r')} "
        f"(n = {r['n']}, {r['workers']} readers)"
        for r in sorted(clear, key=lambda r: -abs(r["r"]))[:12]
    ]
    head = (
        f"One habit at a time, within readers, length taken out: {len(clear)} of {len(records)} "
        f"intervals exclude 0, where about {0.05 * len(records):.0f} would by chance."
    )
    return "\n".join([head, *lines])
