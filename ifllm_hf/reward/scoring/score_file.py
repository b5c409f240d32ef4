"""Every pair of a dataset, scored by a reward model of this package: what `ifllm score` writes.

One shard of the data is in memory at a time; of the others, who read what when, and the habits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from ifllm_hf.append_file import AppendFile
from ifllm_hf.behavior.declaration import FloatArray
from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS
from ifllm_hf.behavior.features.habits import HABIT, habits_of_parts
from ifllm_hf.data.prepared.ifllm import fingerprint
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest, kept_beside, scan_parquet, write_parquet
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.pretrained.heads import ALL, Heads
from ifllm_hf.reward.scoring.held_out import HELD_OUT
from ifllm_hf.reward.scoring.load_scorer import load_scorer, place_of_scorer
from ifllm_hf.reward.scoring.pair_parts import PairParts, open_pair_parts
from ifllm_hf.table_parts import check_table_place, table_files, write_table
from ifllm_hf.training.run_record import public_name

VALUES = (
    *("score_a", "score_b", "length_a", "length_b"),
    *("late_reading_a", "late_reading_b"),
)
SCORES = {
    "query_id": pl.Int64,
    "conversation_id": pl.String,
    "user_id": pl.String,
    **dict.fromkeys(VALUES[:2], pl.Float64),
    "p_b": pl.Float64,
    **dict.fromkeys(VALUES[2:], pl.Float64),
    HELD_OUT: pl.Boolean,
    "head": pl.String,
    "model": pl.String,
}
"""Columns of a file of scores; the parts are null where a model has no evidence head."""
_READ_BY_HABITS = ("t_ms", "phase", "page_load")


def score_pairs_file(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    head: str | None = None,
    batch_size: int = 32,
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
        overwrite: Replace a file that is there.
        progress: Draw a bar on stderr.
        say: Takes one line: what was found, and what is not known.

    Returns:
        What was written, to be read lazily: `SCORES`. `p_b` is the probability that b is preferred;
        `held_out` is false where the head has learned from the reader, null where the model does
        not say.

    Raises:
        ConfigError: No such model or head, it is no reward model of this package, or `out` has
            another ending.
        DataError: The data lack a column, or cannot be read.
        OutputError: `out` is taken or cannot be written.
    """
    import torch

    out = check_table_place(out, overwrite=overwrite)
    place = place_of_scorer(model)
    network, processor = load_scorer(str(place))
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    heads = Heads.of(place)
    parts = open_pair_parts(source, processor.feature_extractor.extra_columns, say)
    of_reader = _assign(heads, parts.keys["user_id"].unique(), head, str(place), say)
    run = digest([str(place), _state(place), parts.state, head], 12)
    name = str(public_name(str(place)))
    with kept_beside(out, run) as aside:
        before = _scored_before(aside, parts)
        if before:
            say(f"{before} of {parts.ends[-1]} pairs were scored by an earlier run")
        scored = [aside / f"{number}.parquet" for number in range(len(parts))]
        habits = None
        if network.config.evidence_head and not all(file.exists() for file in scored):
            habits = _habits(parts)
        with progress_bar(parts.ends[-1], "scored", progress, unit="pair", initial=before) as bar:
            for number, file in enumerate(scored):
                if not file.exists():
                    rows = parts.read(number)
                    if habits is not None:
                        own = habits[parts.rows(number)]
                        rows = rows.with_columns(pl.Series(HABIT, own.astype(np.float32)))
                    todo = (rows, of_reader, heads, network, processor, batch_size)
                    values = _values(aside / f"{number}.jsonl", *todo, bar)
                    write_parquet(file, _table(rows, values, of_reader, name))
        table = (pq.ParquetFile(file).read() for file in scored)
        write_table(out, table, pq.read_schema(scored[0]))
    return scan_parquet(table_files(out))


def _state(place: str | Path) -> str:
    return fingerprint(str(place)) if isinstance(place, Path) else place


def _scored_before(aside: Path, parts: PairParts) -> int:
    """Count the pairs that an earlier run has left scores of."""
    n = 0
    for number in range(len(parts)):
        if (aside / f"{number}.parquet").exists():
            rows = parts.rows(number)
            n += rows.stop - rows.start
        elif (aside / f"{number}.jsonl").exists():
            n += (aside / f"{number}.jsonl").read_bytes().count(b"\n")
    return n


def _values(
    place: Path,
    rows: pl.DataFrame,
    of_reader: Mapping[str | None, tuple[str, bool | None]],
    heads: Heads | None,
    network: Any,
    processor: Any,
    batch_size: int,
    bar: Any,
) -> list[list[float | None]]:
    """Score the rows of a part; what is scored is kept at `place` until all are."""
    ids = rows["query_id"].to_list()
    chosen = [of_reader[reader][0] for reader in rows["user_id"]]
    with AppendFile(place) as kept:
        todo = np.array([str(query) not in kept.records for query in ids], dtype=bool)
        for index in _batches(rows, chosen, todo, batch_size):
            if heads is not None:
                heads.use(chosen[index[0]], network)
            found = _score(network, processor, rows[index])
            for query, scored in zip(rows["query_id"].gather(index), found, strict=True):
                kept.add({"key": str(query), "values": scored})
            bar.update(len(index))
        return [kept.records[str(query)]["values"] for query in ids]


def _assign(
    heads: Heads | None,
    readers: Iterable[str | None],
    head: str | None,
    model: str,
    say: Callable[[str], object],
) -> dict[str | None, tuple[str, bool | None]]:
    """Return for every reader the head that scores them, and whether that is new to them."""
    if heads is None:
        if head is not None:
            raise ConfigError(f"head is {head}, but {model} has no heads by reader; leave it out")
        say(
            f"{model} does not say whom it has learned from (run.json, data.readers): "
            f"{HELD_OUT} is null"
        )
        return dict.fromkeys(readers, (ALL, None))
    of: dict[str | None, tuple[str, bool | None]] = {}
    for reader in readers:
        if reader is None:
            of[None] = (head or ALL, None)
        else:
            name = head or heads.for_reader(reader)
            of[reader] = name, not heads.has_seen(name, reader)
    return of


def _habits(parts: PairParts) -> FloatArray | None:
    """Return the habits of the readers, where the columns tell a reader's earlier turns."""
    if not {*ORDER_COLUMNS, *_READ_BY_HABITS} <= set(parts.columns):
        return None
    return habits_of_parts(parts.keys, parts)


def _batches(
    rows: pl.DataFrame, chosen: Sequence[str], todo: np.ndarray[Any, Any], size: int
) -> Iterator[list[int]]:
    """Yield the positions of rows of one head, of similar length: less of a batch is padding."""
    length = (rows["response_a"].str.len_chars() + rows["response_b"].str.len_chars()).fill_null(0)
    ticks = rows["t_ms"].list.len().fill_null(0) if "t_ms" in rows.columns else length
    order = np.lexsort((length.to_numpy(), ticks.to_numpy()))
    for head in sorted(set(chosen)):
        mine = [int(i) for i in order if todo[i] and chosen[i] == head]
        for start in range(0, len(mine), size):
            yield mine[start : start + size]


def _score(model: Any, processor: Any, rows: pl.DataFrame) -> list[list[float | None]]:
    """Return `VALUES` of some pairs."""
    import torch

    encoded = processor.encode_rows(rows.to_dict(as_series=False))
    names = sorted({name[:-2] for name in encoded})
    if not model.config.use_text:  # nor padded then
        names = [n for n in names if n == "context" or n.startswith("trajectory")]
    where, answers = [], []
    for row in range(rows.height):
        for side, letter in enumerate("ab"):
            if encoded[f"context_{letter}"][row] is not None:
                where.append((row, side))
                answers.append({name: encoded[f"{name}_{letter}"][row] for name in names})
    with torch.inference_mode():
        read = model(**processor.pad(answers).to(model.device))
    parts = [read.logits[:, :1]] + ([] if read.evidence is None else [read.evidence])
    numbers = torch.cat([part.float().cpu() for part in parts], dim=1).tolist()
    out: list[list[float | None]] = [[None] * len(VALUES) for _ in range(rows.height)]
    for (row, side), of_answer in zip(where, numbers, strict=True):
        for number, value in enumerate(of_answer):
            out[row][2 * number + side] = value
    return out


def _table(
    rows: pl.DataFrame,
    values: Sequence[Sequence[float | None]],
    of_reader: Mapping[str | None, tuple[str, bool | None]],
    model: str,
) -> pl.DataFrame:
    columns = {
        name: pl.Series(name, [row[i] for row in values], dtype=pl.Float64)
        for i, name in enumerate(VALUES)
    }
    told = [of_reader[reader] for reader in rows["user_id"]]
    gap = (columns["score_b"] - columns["score_a"]).to_numpy()
    return (
        rows.select("query_id", "conversation_id", "user_id")
        .with_columns(
            *columns.values(),
            pl.Series("p_b", sigmoid(gap)).fill_nan(None),
            pl.Series(HELD_OUT, [held_out for _, held_out in told], dtype=pl.Boolean),
            pl.Series("head", [head for head, _ in told], dtype=pl.String),
            pl.lit(model).alias("model"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCORES.items())
    )
