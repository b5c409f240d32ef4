"""What the behaviour files of a release hold, as arrays in file order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ifllm_hf.data.raw.samples import Samples


@dataclass(frozen=True)
class RelRecords:
    """The records of one `rel_*` file: positions relative to an answer; arrays of length `[n]`.

    Attributes:
        x: Pixels from the left edge of the answer's element, float64; -1 (with y = -1) outside it.
        y: Pixels from its top edge, scrolled part included, float64; -1 outside it.
        window: Up to ten characters on each side of the caret as recorded, dictionary of strings;
            null where nothing was recorded.
        caret: Offset into the text node that was hit, UTF-16 units, int32; -1 where blank.
        page_ms: Milliseconds on the page clock (hidden time taken out), float64.
        camera: 1 when the face was in the camera's frame, 0 when not, -1 where the file has no
            flag, int8.
        epoch_ms: Milliseconds since 1970, int64.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    window: pa.DictionaryArray
    caret: NDArray[np.int32]
    page_ms: NDArray[np.float64]
    camera: NDArray[np.int8]
    epoch_ms: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.x)

    def with_rows(self, rows: NDArray[np.int64], extra: RelRecords) -> RelRecords:
        """Return the records with those of `extra` inserted, so that they end up at `rows`."""
        n = len(self) + len(extra)
        inserted = np.zeros(n, dtype=bool)
        inserted[rows] = True

        def join(mine: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
            joined = np.empty(n, dtype=mine.dtype)
            joined[~inserted], joined[inserted] = mine, theirs
            return joined

        words = pa.concat_arrays([self.window.dictionary, extra.window.dictionary])
        mine, theirs = (
            part.window.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
            for part in (self, extra)
        )
        theirs = np.where(theirs >= 0, theirs + len(self.window.dictionary), -1)
        codes = join(mine, theirs)
        return RelRecords(
            x=join(self.x, extra.x),
            y=join(self.y, extra.y),
            window=pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), words),
            caret=join(self.caret, extra.caret),
            page_ms=join(self.page_ms, extra.page_ms),
            camera=join(self.camera, extra.camera),
            epoch_ms=join(self.epoch_ms, extra.epoch_ms),
        )

    def take(self, rows: NDArray[np.int64]) -> RelRecords:
        """Return the records at `rows`, in that order."""
        return RelRecords(
            x=self.x[rows],
            y=self.y[rows],
            window=self.window.take(pa.array(rows)),
            caret=self.caret[rows],
            page_ms=self.page_ms[rows],
            camera=self.camera[rows],
            epoch_ms=self.epoch_ms[rows],
        )

    def to_samples(self) -> Samples:
        """Return the records in the form that the paper's features take."""
        window = pl.Series("window", self.window.cast(pa.string())).fill_null("")
        return Samples(
            x=self.x,
            y=self.y,
            window=window.str.strip_chars(),
            caret=self.caret,
            page_ms=self.page_ms,
            camera=self.camera,
            epoch_ms=self.epoch_ms.astype(np.float64),
        )


@dataclass(frozen=True)
class AbsRecords:
    """The records of one `abs_*` file: viewport pixels; arrays of length `[n]`.

    Attributes:
        x: Pixels from the left edge of the window, float64.
        y: Pixels from its top edge, float64.
        page_ms: Milliseconds on the page clock, float64.
        epoch_ms: Milliseconds since 1970, int64.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    page_ms: NDArray[np.float64]
    epoch_ms: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self.x)

    def take(self, rows: NDArray[np.int64]) -> AbsRecords:
        """Return the records at `rows`, in that order."""
        return AbsRecords(self.x[rows], self.y[rows], self.page_ms[rows], self.epoch_ms[rows])
