"""Every pair of a dataset, scored by a reward model of this package: what `ifllm score` writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.append_file import AppendFile
from ifllm_hf.behavior.features.baseline import ORDER_COLUMNS
from ifllm_hf.behavior.features.habits import HABIT, reader_habits
from ifllm_hf.behavior.features.table import refuse_doubled
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.ifllm import find_prepared, fingerprint
from ifllm_hf.errors import ConfigError, DataError, OutputError
from ifllm_hf.files import PART, check_free, digest, scan_parquet, write_parquet
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.pretrained.heads import ALL, Heads
from ifllm_hf.reward.scoring.held_out import HELD_OUT
from ifllm_hf.reward.scoring.load_scorer import load_scorer, place_of_scorer
from ifllm_hf.reward.training.examples import columns_to_read
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
_NEEDED = ("query_id", "conversation_id", "user_id", "prompt", "response_a", "response_b")
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
) -> pl.DataFrame:
    """Score every pair, and write one row for each, in the order of the data.

    A run that was interrupted goes on where it stopped: what is scored is kept beside `out` until
    the file is whole.

    Args:
        source: A folder of sessions, a prepared folder or a release; None: what
            `load_dataset("ifllm")` finds; else a dataset on the Hub with a config `pairwise`.
        out: The `.parquet` file to write.
        model: Folder or Hub id of an `IFLLMForRewardModeling` with its processor; default: the one
            that comes with the package.
        head: Of a model with several: who scores. Default: every reader is scored by a head that
            has not seen them.
        batch_size: Pairs that are scored at once.
        overwrite: Replace a file that is there.
        progress: Draw a bar on stderr.
        say: Takes one line: what was found, and what is not known.

    Returns:
        What was written: `SCORES`. `p_b` is the probability that b is preferred; `held_out` is
        false where the head has learned from the reader, null where the model does not say.

    Raises:
        ConfigError: No such model or head, or it is no reward model of this package.
        DataError: The data lack a column, or cannot be read.
        OutputError: `out` is taken or cannot be written.
    """
    import torch

    out = check_free(out, overwrite=overwrite)
    if out.suffix != ".parquet":
        raise OutputError(f"{out}: expected a name that ends in .parquet; rename it")
    place = place_of_scorer(model)
    network, processor = load_scorer(str(place))
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    heads = Heads.of(place)
    rows, data = _pairs(source, processor.feature_extractor.extra_columns, say)
    if not rows.height:
        raise DataError(f"{_data_name(source)}: no turn has two answers, of which one could lead")
    if rows["query_id"].null_count():
        raise DataError(
            f"{_data_name(source)}: {rows['query_id'].null_count()} rows have no query_id; "
            "expected one for each turn"
        )
    refuse_doubled(rows["query_id"])
    chosen, held_out = _assign(heads, rows["user_id"].to_list(), head, str(place), say)
    if network.config.evidence_head:
        rows = _with_habits(rows)
    run = digest([str(place), _state(place), data, head], 12)
    parts = out.with_name(f".{out.name}.{run}{PART}")
    with AppendFile(parts) as kept:
        todo = np.array(
            [str(q) not in kept.records for q in rows["query_id"].to_list()], dtype=bool
        )
        if not todo.all():
            say(f"{int((~todo).sum())} of {rows.height} pairs were scored by an earlier run")
        with progress_bar(rows.height, "scored", progress, unit="pair", initial=sum(~todo)) as bar:
            for index in _batches(rows, chosen, todo, batch_size):
                name = chosen[index[0]]
                if heads is not None:
                    heads.use(name, network)
                found = _score(network, processor, rows[index])
                for query, scored in zip(rows["query_id"].gather(index), found, strict=True):
                    kept.add({"key": str(query), "values": scored})
                bar.update(len(index))
        values = [kept.records[str(q)]["values"] for q in rows["query_id"].to_list()]
    table = _table(rows, values, held_out, chosen, str(public_name(str(place))))
    write_parquet(out, table)
    for left in (parts, Path(f"{parts}.lock")):
        left.unlink(missing_ok=True)
    return table


def _data_name(source: str | os.PathLike[str] | None) -> str:
    """Return what messages call the data."""
    return "ifllm" if source is None else str(source)


def _state(place: str | Path) -> str:
    return fingerprint(str(place)) if isinstance(place, Path) else place


def _pairs(
    source: str | os.PathLike[str] | None, extra: Sequence[str], say: Callable[[str], object]
) -> tuple[pl.DataFrame, str]:
    """Return the turns with two answers, and a name of their state.

    Args:
        source: See `score_pairs_file`.
        extra: Tick columns that the model reads beside ours.
        say: Takes one line.
    """
    if source is None or str(source) == "ifllm" or os.path.exists(source):
        given = None if source is None or not os.path.exists(source) else source
        folder = find_prepared(given, say=say)
        scanned = scan_parquet(config_files(folder, "pairwise"))
        names = scanned.collect_schema().names()
        return scanned.select(_wanted(names, str(source), extra)).collect(), fingerprint(
            str(folder)
        )
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        turns = load_dataset(str(source), "pairwise", split="train")
    except (OSError, ValueError, KeyError, DatasetsError) as error:
        raise ConfigError(
            f"{source}: its config 'pairwise' cannot be read ({error.__cause__ or error}); "
            "expected a folder of sessions, one that `ifllm prepare` wrote, a release, or such a "
            "dataset on the Hub"
        ) from error
    kept = turns.select_columns(_wanted(turns.column_names, str(source), extra))
    frame = pl.from_arrow(kept.with_format("arrow")[:])
    assert isinstance(frame, pl.DataFrame)
    return frame, str(turns._fingerprint)


def _wanted(available: Sequence[str], name: str, extra: Sequence[str]) -> list[str]:
    missing = [column for column in _NEEDED if column not in available]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(missing)}; expected those of the config `pairwise`. "
            "Prepare the data with `ifllm prepare`"
        )
    ticks = columns_to_read(available, extra)
    return list(dict.fromkeys((*_NEEDED, *(c for c in ORDER_COLUMNS if c in available), *ticks)))


def _assign(
    heads: Heads | None,
    readers: Sequence[str | None],
    head: str | None,
    model: str,
    say: Callable[[str], object],
) -> tuple[list[str], list[bool | None]]:
    """Return for every row the head that scores it, and whether that is new to its reader."""
    if heads is None:
        if head is not None:
            raise ConfigError(f"head is {head}, but {model} has no heads by reader; leave it out")
        say(
            f"{model} does not say whom it has learned from (run.json, data.readers): "
            f"{HELD_OUT} is null"
        )
        return [ALL] * len(readers), [None] * len(readers)
    of: dict[str | None, tuple[str, bool | None]] = {None: (head or ALL, None)}
    for reader in set(readers) - {None}:
        name = head or heads.for_reader(str(reader))
        of[reader] = name, not heads.has_seen(name, str(reader))
    return [of[reader][0] for reader in readers], [of[reader][1] for reader in readers]


def _with_habits(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the habits of the readers, where the columns tell a reader's earlier turns."""
    if not {*ORDER_COLUMNS, *_READ_BY_HABITS} <= set(rows.columns):
        return rows
    habits = pl.Series(HABIT, reader_habits(rows).astype(np.float32))
    return rows.with_columns(habits)


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
    held_out: Sequence[bool | None],
    chosen: Sequence[str],
    model: str,
) -> pl.DataFrame:
    columns = {
        name: pl.Series(name, [row[i] for row in values], dtype=pl.Float64)
        for i, name in enumerate(VALUES)
    }
    gap = (columns["score_b"] - columns["score_a"]).to_numpy()
    return (
        rows.select("query_id", "conversation_id", "user_id")
        .with_columns(
            *columns.values(),
            pl.Series("p_b", sigmoid(gap)).fill_nan(None),
            pl.Series(HELD_OUT, held_out, dtype=pl.Boolean),
            pl.Series("head", chosen, dtype=pl.String),
            pl.lit(model).alias("model"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in SCORES.items())
    )
