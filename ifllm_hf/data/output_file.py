"""Write one Parquet file as a whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from ifllm_hf.errors import OutputError


def check_free(out: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return `out` as a path.

    Raises:
        OutputError: Something is there and must not be replaced.
    """
    out = Path(out)
    if out.is_dir():
        raise OutputError(f"{out}: is a folder; expected the name of a file.")
    if out.exists() and not overwrite:
        raise OutputError(
            f"{out}: exists already; expected a free name. Choose another one or ask to overwrite "
            "(--overwrite)."
        )
    return out


def write_parquet_whole(table: pl.DataFrame, out: Path) -> None:
    """Write aside, then rename.

    Raises:
        OutputError: It cannot be written (disk full, no permission); nothing is left behind.
    """
    aside = out.with_name(f".{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        table.write_parquet(aside, compression="zstd")
        aside.replace(out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(
            f"{out}: cannot be written: {error}. Free some space or choose another place."
        ) from error
