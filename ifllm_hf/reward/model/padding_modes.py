"""The ways to pad, by the names that transformers gives them. Travels with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers.utils import PaddingStrategy

from .data_error import DataError


def padding_mode(given: bool | str) -> Any:
    """Return the `PaddingStrategy` of an argument.

    Raises:
        DataError: There is none of that name.
    """
    if isinstance(given, bool):
        return PaddingStrategy.LONGEST if given else PaddingStrategy.DO_NOT_PAD
    try:
        return PaddingStrategy(given)
    except ValueError:
        known = ", ".join(repr(mode.value) for mode in PaddingStrategy)
        raise DataError(f"padding is {given!r}; expected True, False, {known}.") from None


def refuse_ragged(encoded: Mapping[str, Sequence[Any]]) -> None:
    """Refuse rows of unequal length.

    Raises:
        DataError: Names the first field that has them.
    """
    for name, values in encoded.items():
        sizes = [len(value) for value in values]
        if len(set(sizes)) > 1:
            raise DataError(
                f"field '{name}': rows of {min(sizes)} to {max(sizes)} make no tensor without "
                "padding; expected padding=True, or return_tensors=None for lists."
            )
