"""How a batch is padded, and how it comes to make no difference where. Travels with a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
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


def left_aligned(mask: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Move the valid entries of every row to its left edge, in order.

    Afterwards it makes no difference where a batch was padded.

    Args:
        mask: `[batch, length]` bool, True where valid.
        tensors: `[batch, length, ...]` each.

    Returns:
        The order `[batch, length]` that was applied, the mask, and the tensors.
    """
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
    return (order, mask.gather(1, order), *(_take(tensor, order) for tensor in tensors))


def _take(tensor: Tensor, order: Tensor) -> Tensor:
    if tensor.dim() == 2:
        return tensor.gather(1, order)
    return tensor.gather(1, order.unsqueeze(-1).expand_as(tensor))


def put_back(back: Tensor, given: Tensor | None) -> Tensor | None:
    """Undo `left_aligned` for states `[batch, length, size]` or attentions `[batch, heads, n, n]`.

    Args:
        back: `[batch, length]`, the inverse of its order.
        given: What was made of the aligned entries; None for a layer that was not asked for.
    """
    if given is None:
        return None
    back = back.to(given.device)
    if given.dim() == 3:
        return _take(given, back)
    asked, told = (back[:, None, :, None], back[:, None, None, :])
    return given.gather(2, asked.expand_as(given)).gather(3, told.expand_as(given))
