"""The paper's features of a release as one file: what `ifllm features --set paper` does."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from ifllm_hf.behavior.paper import paper_tables
from ifllm_hf.data.output_file import check_free, write_parquet_whole
from ifllm_hf.data.prepare import find_release
from ifllm_hf.data.release import open_release, read_samples
from ifllm_hf.data.sessions.collected import is_sessions_folder
from ifllm_hf.errors import DataError


def write_paper_features(
    source: str | os.PathLike[str] | None, out: Path, *, overwrite: bool = False
) -> pl.DataFrame:
    """Compute the paper's features and metrics from loss-free rows and write them.

    Args:
        source: A release; None: as `find_release` finds it.
        out: The Parquet file.
        overwrite: Replace a file that is there.

    Returns:
        One row per turn that has features: `query_id`, the 212 features, and the metrics (null
        where no answer's text was ever found).

    Raises:
        OutputError: `out` is taken or cannot be written.
        SourceError: There is no release to read.
        DataError: `source` holds collected sessions, which have no text windows.
    """
    from tqdm import tqdm

    out = check_free(out, overwrite=overwrite)
    path = find_release(source)
    if is_sessions_folder(path):
        raise DataError(
            f"{path}: holds collected sessions. The paper's features are defined on the text "
            "around the pointer, which the release recorded beside every sample; sessions store "
            "the exact character instead and no such text. Use --set ours."
        )
    release = open_release(path, hash_content=False)
    release.source.close()
    conversations = tqdm(read_samples(path), desc="Reading files", unit="conversation", delay=1)
    features, metrics = paper_tables(conversations, release.turns)
    table = features.join(metrics, on="query_id", how="left", maintain_order="left")
    write_parquet_whole(table, out)
    return table
