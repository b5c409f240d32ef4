"""One shard of pairs, scored: what runs side by side in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.append_file import AppendFile
from ifllm_hf.behavior.features.habits import HABIT, log_shares
from ifllm_hf.files import whole_file, write_parquet
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_hf.reward.pretrained.heads import ALL, Heads
from ifllm_hf.reward.scoring.held_out import HELD_OUT
from ifllm_hf.reward.scoring.load_scorer import load_scorer
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
HABITS = "habits.npy"
"""The habits of all readers in the working folder, by row; not there where a model reads none."""
Read = Callable[[int], pl.DataFrame]


@dataclass(frozen=True)
class ShardScorer:
    """Scores the shard of a number; the working folder then holds `3.parquet`.

    Attributes:
        place: The model.
        state: Names what the model is now.
        head: Of a model with several: who scores; None: for each reader one that is new to them.
        batch_size: Pairs that are scored at once.
        read: Returns the rows of a shard.
        ends: Rows up to the end of each shard.
    """

    place: str
    state: str
    head: str | None
    batch_size: int
    read: Read
    ends: Sequence[int]

    def __call__(self, work: Path, number: int) -> None:
        """Score a shard."""
        network, processor, heads = scorer_of(self.place, self.state)
        rows = self.read(number)
        if (work / HABITS).exists():
            own = np.load(work / HABITS, mmap_mode="r")[self.ends[number] - rows.height :]
            rows = rows.with_columns(pl.Series(HABIT, own[: rows.height].astype(np.float32)))
        of_reader = assign(heads, rows["user_id"].unique(), self.head)
        kept = work / f"{number}.jsonl"
        values = _values(kept, rows, of_reader, heads, network, processor, self.batch_size)
        table = _table(rows, values, of_reader, str(public_name(self.place)))
        write_parquet(work / f"{number}.parquet", table)
        kept.unlink()


def keep_shares(read: Read, work: Path, number: int) -> None:
    """Keep what the habits of a shard's readers are made of, `3.npy` in the working folder."""
    with whole_file(work / f"{number}.npy") as part, part.open("wb") as file:
        np.save(file, log_shares(read(number)))


@lru_cache(maxsize=1)
def scorer_of(place: str, state: str) -> tuple[Any, Any, Heads | None]:
    """Return model, processor and heads, once for each state of a model and process."""
    import torch

    network, processor = load_scorer(place)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    return network, processor, Heads.of(place)


def assign(
    heads: Heads | None, readers: Iterable[str | None], head: str | None
) -> dict[str | None, tuple[str, bool | None]]:
    """Return for every reader the head that scores them, and whether that is new to them."""
    if heads is None:
        return dict.fromkeys(readers, (ALL, None))
    of: dict[str | None, tuple[str, bool | None]] = {}
    for reader in readers:
        if reader is None:
            of[None] = (head or ALL, None)
        else:
            name = head or heads.for_reader(reader)
            of[reader] = name, not heads.has_seen(name, reader)
    return of


def _values(
    place: Path,
    rows: pl.DataFrame,
    of_reader: Mapping[str | None, tuple[str, bool | None]],
    heads: Heads | None,
    network: Any,
    processor: Any,
    batch_size: int,
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
        return [kept.records[str(query)]["values"] for query in ids]


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
