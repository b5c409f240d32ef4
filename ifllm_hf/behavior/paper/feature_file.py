"""The paper's features of a release as one file: what `ifllm features --set paper` does."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from ifllm_hf.behavior.paper.features import paper_tables, repair_report
from ifllm_hf.data.prepared.prepare import find_release
from ifllm_hf.data.release import open_release, read_samples
from ifllm_hf.data.sessions.collected import is_sessions_folder
from ifllm_hf.errors import DataError
from ifllm_hf.files import check_free, write_parquet
from ifllm_hf.progress import progress_bar


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
    samples = read_samples(path)
    conversations = progress_bar(
        None, "Reading files", iterable=samples, unit="conversation", leave=True, delay=1
    )
    features, metrics = paper_tables(conversations, release.turns)
    table = features.join(metrics, on="query_id", how="left", maintain_order="left")
    write_parquet(out, table)
    return table


def repair_text(source: str | os.PathLike[str] | None) -> str:
    """Read a release as the paper did and without loss, and say what that changes.

    Args:
        source: A release; None: as `find_release` finds it.

    Returns:
        Markdown: cells that change, overall and in the columns that change most.

    Raises:
        SourceError: There is no release to read.
    """
    path = find_release(source)
    release = open_release(path, hash_content=False)
    release.source.close()
    lossy, whole = (
        paper_tables(read_samples(path, lossy=flag), release.turns) for flag in (True, False)
    )
    lines = []
    for name, old, new in zip(("features", "metrics"), lossy, whole, strict=True):
        report = repair_report(old, new)
        cells, changed = int(report["cells"].sum()), int(report["changed"].sum())
        lines += [
            f"{name}: {changed:,} of {cells:,} cells of {len(old):,} turns change "
            f"({changed / max(cells, 1):.1%}); the columns that change most:",
            "",
            "| column | turns that change | largest relative change |",
            "|---|---|---|",
            *(
                f"| `{row['column']}` | {row['share_changed']:.1%} "
                f"| {row['max_relative_change']:.2g} |"
                for row in report.head(8).iter_rows(named=True)
            ),
            "",
        ]
    return "\n".join(lines[:-1])
