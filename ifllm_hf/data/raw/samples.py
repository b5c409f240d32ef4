"""The recorded samples of a conversation, file by file, as the release stores them.

The canonical `ticks` table has one row per instant; the paper's features are defined on the
files themselves (each with its own row order, windows and damage), hence this second view.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from ifllm_hf.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]
ByteArray = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Samples:
    """One behaviour file: `n` samples of one channel relative to one answer, in file order.

    Attributes:
        x: Horizontal position inside the answer, px; -1 (with y) = outside of it. Shape (n,).
        y: Vertical position inside the answer, its own scroll included, px; shape (n,).
        window: Text around the caret as recorded, "" where there was none; null throughout, or
            None, where the source records no text. Shape (n,).
        caret: Offset of the caret in its text node, UTF-16 units; -1 = none. Shape (n,).
        page_ms: Clock of the page less hidden time, ms; NaN = not a number. Shape (n,).
        camera: 1 = face box green, 0 = not, -1 = the record has no flag. Shape (n,).
        epoch_ms: Unix time, ms; NaN = not a number. Shape (n,).
    """

    x: FloatArray
    y: FloatArray
    window: pl.Series | None
    caret: IntArray
    page_ms: FloatArray
    camera: ByteArray
    epoch_ms: FloatArray

    def __post_init__(self) -> None:
        """Raise DataError unless all columns have one length."""
        lengths = {
            name: len(values)
            for name in ("x", "y", "window", "caret", "page_ms", "camera", "epoch_ms")
            if (values := getattr(self, name)) is not None
        }
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"samples: columns of different lengths {lengths}; expected one value per sample "
                "in each. Rebuild them from one file."
            )

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)


@dataclass(frozen=True)
class ConversationSamples:
    """The behaviour files of one conversation; `b` is None where one answer was shown.

    Attributes:
        conversation_id: `f"{user_id}/{task_id}"`, as in the turns table.
        gaze_a: Gaze on answer a (pairwise: left).
        mouse_a: Mouse on answer a.
        gaze_b: Gaze on answer b (right), None for pointwise conversations.
        mouse_b: Mouse on answer b, None for pointwise conversations.
    """

    conversation_id: str
    gaze_a: Samples
    mouse_a: Samples
    gaze_b: Samples | None = None
    mouse_b: Samples | None = None

    def __post_init__(self) -> None:
        """Raise DataError if only one channel of answer b is there."""
        if (self.gaze_b is None) != (self.mouse_b is None):
            present = "gaze" if self.gaze_b is not None else "mouse"
            raise DataError(
                f"{self.conversation_id}: answer b has {present} only; expected gaze and mouse "
                "(pairwise) or neither (pointwise). Complete the folder of this conversation."
            )

    @property
    def kind(self) -> str:
        """Return "pairwise" if there are files for two answers, else "pointwise"."""
        return "pointwise" if self.gaze_b is None else "pairwise"

    def file(self, channel: str, side: str) -> Samples | None:
        """Return the file of a channel ("gaze", "mouse") and side ("a", "b"), None if absent."""
        files = {
            ("gaze", "a"): self.gaze_a,
            ("gaze", "b"): self.gaze_b,
            ("mouse", "a"): self.mouse_a,
            ("mouse", "b"): self.mouse_b,
        }
        return files[channel, side]
