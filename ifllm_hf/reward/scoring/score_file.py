"""Every pair of a dataset, scored by a reward model of this package: what `ifllm score` writes.

One shard of the data is in memory at a time; of the others, who read what when, and the habits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS
from ifllm_hf.behavior.features.habits import habits_of
from ifllm_hf.data.prepared.ifllm import fingerprint
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.files import digest, scan_parquet, whole_file
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.pretrained.heads import Heads
from ifllm_hf.reward.scoring.held_out import HELD_OUT
from ifllm_hf.reward.scoring.load_scorer import place_of_scorer
from ifllm_hf.reward.scoring.pair_parts import PairParts, open_pair_parts
from ifllm_hf.reward.scoring.score_shard import HABITS, ShardScorer, keep_shares, scorer_of
from ifllm_hf.table_parts import check_table_place, kept_beside, table_files, write_table

_READ_BY_HABITS = ("t_ms", "phase", "page_load")


def score_pairs_file(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    head: str | None = None,
    batch_size: int = 32,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    say: Callable[[str], object],
) -> pl.LazyFrame:
    """Score every pair, and write one row for each, in the order of the data.

    A run that was interrupted goes on where it stopped: what is scored is kept beside `out` until
    the file is whole.

    Args:
        source: A folder of sessions, a prepared folder or a release; None: what
            `load_dataset("ifllm")` finds; else a dataset on the Hub with a config `pairwise`.
        out: The `.parquet` file to write; a name without an ending: a folder with a shard for each
            shard of the data.
        model: Folder or Hub id of an `IFLLMForRewardModeling` with its processor; default: the one
            that comes with the package.
        head: Of a model with several: who scores. Default: every reader is scored by a head that
            has not seen them.
        batch_size: Pairs that are scored at once.
        workers: Shards at once, each in a process of its own, which loads the model.
        overwrite: Replace what is there.
        progress: Draw a bar on stderr.
        say: Takes one line: what was found, and what is not known.

    Returns:
        What was written, to be read lazily: `score_shard.SCORES`. `p_b` is the probability that b
        is preferred; `held_out` is false where the head has learned from the reader, null where the
        model does not say.

    Raises:
        ConfigError: No such model or head, it is no reward model of this package, or `out` has
            another ending.
        DataError: The data lack a column, or cannot be read.
        OutputError: `out` is taken or cannot be written.
        UnfinishedError: A process was killed; the same call does what is left.
    """
    out = check_table_place(out, overwrite=overwrite)
    place = place_of_scorer(model)
    state = _state(place)
    network, processor, heads = scorer_of(str(place), state)
    parts = open_pair_parts(source, processor.feature_extractor.extra_columns, say)
    _check_heads(heads, head, str(place), say)
    with kept_beside(out, digest([str(place), state, parts.state, head], 12)) as aside:
        before = _scored_before(aside, parts)
        if before:
            say(f"{before} of {parts.ends[-1]} pairs were scored by an earlier run")
        scored = [aside / f"{number}.parquet" for number in range(len(parts))]
        todo = [number for number, file in enumerate(scored) if not file.exists()]
        if todo and network.config.evidence_head:
            _keep_habits(parts, aside, workers)
        scorer = ShardScorer(str(place), state, head, batch_size, parts.read, parts.ends)
        done = parts.ends[-1] - sum(map(parts.length, todo))
        with progress_bar(parts.ends[-1], "scored", progress, unit="pair", initial=done) as bar:
            run = engine_for(workers, rank=scorer)
            run(aside, todo, lambda number: bar.update(parts.length(number)))
        table = (pq.ParquetFile(file).read() for file in scored)
        write_table(out, table, pq.read_schema(scored[0]))
    scorer_of.cache_clear()  # a large model does not stay
    return scan_parquet(table_files(out))


def _keep_habits(parts: PairParts, aside: Path, workers: int) -> None:
    """Keep the habits of the readers, where the columns tell a reader's earlier turns."""
    if not {*ORDER_COLUMNS, *_READ_BY_HABITS} <= set(parts.columns) or (aside / HABITS).exists():
        return
    shares = [aside / f"{number}.npy" for number in range(len(parts))]
    todo = [number for number, file in enumerate(shares) if not file.exists()]
    engine_for(workers, rank=partial(keep_shares, parts.read))(aside, todo, lambda _: None)
    kept = np.concatenate([np.load(file, mmap_mode="r") for file in shares])
    habits = habits_of(parts.keys, kept)
    with whole_file(aside / HABITS) as part, part.open("wb") as file:
        np.save(file, habits)


def _state(place: str | Path) -> str:
    return fingerprint(str(place)) if isinstance(place, Path) else place


def _scored_before(aside: Path, parts: PairParts) -> int:
    """Count the pairs that an earlier run has left scores of."""
    n = 0
    for number in range(len(parts)):
        if (aside / f"{number}.parquet").exists():
            n += parts.length(number)
        elif (aside / f"{number}.jsonl").exists():
            n += (aside / f"{number}.jsonl").read_bytes().count(b"\n")
    return n


def _check_heads(
    heads: Heads | None, head: str | None, model: str, say: Callable[[str], object]
) -> None:
    if heads is not None:
        if head is not None:
            require_one_of("head", head, sorted(heads.seen))
        return
    if head is not None:
        raise ConfigError(f"head is {head}, but {model} has no heads by reader; leave it out")
    say(
        f"{model} does not say whom it has learned from (run.json, data.readers): {HELD_OUT} is "
        "null"
    )
