"""The error of values that cannot be used, for files that travel with a model on the Hub."""

from __future__ import annotations

try:
    from ifllm_hf.errors import DataError
except ImportError:  # loaded through `trust_remote_code=True`, where the package is not installed

    class DataError(ValueError):  # type: ignore[no-redef]
        """Values that no step downstream can use; the message names the row and the field."""


__all__ = ["DataError"]
