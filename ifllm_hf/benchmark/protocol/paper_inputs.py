"""What the paper's model needs of a prepared folder: its pairs, and its features of every turn."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import polars as pl

from ifllm_hf.behavior.declaration import CHANNELS
from ifllm_hf.behavior.paper.features import METRIC_COLUMNS, PAPER_COLUMNS, paper_tables
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.raw.samples import ConversationSamples, Samples
from ifllm_hf.errors import DataError
from ifllm_hf.files import scan_parquet


def paper_pairs(turns: pl.DataFrame) -> list[int]:
    """Return the ids of the paper's pairs: 675 in the release.

    A labelled pair of a worker whom the paper did not exclude, with at least one tick, of either
    channel and at any time, on one of its answers.

    Args:
        turns: Rows of the `pairwise` config, ticks included.
    """
    on_answers = [pl.col(f"{c}_on").list.eval(pl.element() != "none").list.sum() for c in CHANNELS]
    touched = [(ticks > 0).fill_null(value=False) for ticks in on_answers]
    kept = turns.filter(
        pl.col("preference").is_in(["a", "b"]),
        ~pl.col("excluded_by_paper"),
        pl.any_horizontal(touched),
    )
    return sorted(kept["query_id"].to_list())


def paper_columns(folder: str | os.PathLike[str], turns: pl.DataFrame) -> pl.DataFrame:
    """Compute the paper's features and metrics of pairwise turns, loss-free.

    Args:
        folder: A prepared folder.
        turns: Rows of the `pairwise` config; see `paper_tables` for the columns used.

    Returns:
        `query_id` and one column per feature and metric under the paper's name; turns that the
        paper's matching did not find are missing.

    Raises:
        DataError: The folder's recordings have no text windows (collected sessions).
        TableError: It is not a prepared folder.
    """
    features, metrics = paper_tables(_recordings(folder), turns)
    joined = features.join(metrics, on="query_id", how="inner", maintain_order="left")
    named = dict.fromkeys((*PAPER_COLUMNS, *METRIC_COLUMNS))
    return joined.select("query_id", *(pl.col(c).cast(pl.Float64) for c in named))


def _recordings(folder: str | os.PathLike[str]) -> Iterator[ConversationSamples]:
    """Yield the pairwise conversations of the `ticks` config as the files they were made from."""
    places = [f"rel_{axis}_px_{side}" for axis in "xy" for side in "ab"]
    needed = [
        *("conversation_id", "t_ms", "epoch_ms", "camera_ok"),
        *(f"{c}_{what}" for c in CHANNELS for what in ("caret_utf16", "window", *places)),
    ]
    for file in config_files(folder, "ticks"):
        scan = scan_parquet([file]).filter(pl.col("kind") == "pairwise").select(needed)
        for row in scan.collect().iter_slices(1):
            name = row["conversation_id"][0]
            ticks = row.drop("conversation_id").explode(needed[1:])
            if all(ticks[f"{c}_window"].null_count() == len(ticks) for c in CHANNELS):
                raise DataError(
                    f"{name}: no text windows were recorded; the paper's features find the "
                    "question by the text around the caret"
                )
            yield ConversationSamples(
                name, **{f"{c}_{side}": _file(ticks, c, side) for c in CHANNELS for side in "ab"}
            )


def _file(ticks: pl.DataFrame, channel: str, side: str) -> Samples:
    """Return the rows of one behaviour file: -1 and "" off its answer."""
    x, y = (ticks[f"{channel}_rel_{axis}_px_{side}"].cast(pl.Float64) for axis in "xy")
    on = x.is_not_null()
    caret = ticks[f"{channel}_caret_utf16"].fill_null(-1).to_numpy()
    window = ticks[f"{channel}_window"]
    camera = ticks["camera_ok"].cast(pl.Int8).fill_null(-1).to_numpy()
    return Samples(
        x=x.fill_null(-1.0).to_numpy(),
        y=y.fill_null(-1.0).to_numpy(),
        window=pl.select(pl.when(on).then(window).otherwise(pl.lit(""))).to_series().fill_null(""),
        caret=np.where(on.to_numpy(), caret, -1).astype(np.int32),
        page_ms=ticks["t_ms"].to_numpy(),
        camera=camera if channel == "gaze" else np.full(len(ticks), -1, dtype=np.int8),
        epoch_ms=ticks["epoch_ms"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
    )
