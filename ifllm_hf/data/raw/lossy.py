"""The paper's own way of reading a behaviour file, kept to check its features cell by cell.

The collection site wrote `"` + text + `"` without escaping, so a CSV parser misreads windows that
contain quotes. The paper parsed them so all the same. What that does to a file:

* a quote at the wrong place swallows separators or whole lines into one field;
* records that then have other than 6 or 7 fields are lost;
* a 6-field record with one comma too many looks like a 7-field one: its caret index is read as
  the page time, and its page time as the camera flag.

Use it for parity only; the reader of the release loses no row.
"""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import polars as pl

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.samples import Samples


def _number(field: str) -> float:
    """Return the field as a float, NaN if it is none."""
    try:
        return float(field)
    except ValueError:
        return math.nan


def _caret(field: str) -> int:
    """Return the integer part of the field, -1 if it is blank or no number."""
    number = _number(field) if field else math.nan
    return int(number) if math.isfinite(number) else -1


def parse_lossy(raw: bytes, ledger: Ledger | None = None) -> Samples:
    """Read one rel file (`rel_gaze*.csv`, `rel_mouse*.csv`) by the paper's rule.

    Args:
        raw: The file's bytes, UTF-8, without a header.
        ledger: Counts lines here if given; `seen` is the number of physical lines.

    Returns:
        The samples kept, in file order. A page or epoch time that is no number is NaN.
    """
    ledger = Ledger("lossy") if ledger is None else ledger
    reader = csv.reader(io.StringIO(raw.decode("utf-8", errors="replace"), newline=""))
    records = 0
    kept: list[tuple[float, float, str, int, float, int, float]] = []
    for fields in reader:
        records += 1
        n = len(fields)
        if n != 6 and n != 7:
            ledger.drop("field count other than 6 or 7")
            continue
        x, y = _number(fields[0]), _number(fields[1])
        if math.isnan(x) or math.isnan(y):
            ledger.drop("x or y is not a number")
            continue
        camera = -1 if n == 6 else int(fields[5].strip() == "1")
        window, caret = fields[2].strip(), _caret(fields[3])
        kept.append((x, y, window, caret, _number(fields[4]), camera, _number(fields[-1])))
    ledger.keep(len(kept))
    ledger.drop("line swallowed by a stray quote", reader.line_num - records)
    columns = zip(*kept, strict=True) if kept else ((),) * 7
    x_px, y_px, windows, carets, page_ms, cameras, epoch_ms = columns
    return Samples(
        x=np.array(x_px, dtype=np.float64),
        y=np.array(y_px, dtype=np.float64),
        window=pl.Series("window", windows, dtype=pl.String),
        caret=np.array(carets, dtype=np.int32),
        page_ms=np.array(page_ms, dtype=np.float64),
        camera=np.array(cameras, dtype=np.int8),
        epoch_ms=np.array(epoch_ms, dtype=np.float64),
    )
