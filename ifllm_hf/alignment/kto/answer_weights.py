"""How much each answer counts in the loss: by its confidence, and by how many of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ifllm_hf.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

Numbers = TypeVar("Numbers", "npt.NDArray[np.float64]", "torch.Tensor")

BAND = (1.0, 4 / 3)
"""Where `desirable_weight n_D / (undesirable_weight n_U)` should lie: equation 8 of the paper."""
_MIDDLE = sum(BAND) / 2


def confidence_weights(confidence: Numbers) -> Numbers:
    """Return `2c - 1`: 1 for a label that is sure, 0 for a coin flip.

    The loss of a desirable answer is `1 - s(h)` and that of an undesirable one `s(h)`. If a label
    is right with probability `c`, the loss to expect is `c (1 - s) + (1 - c) s`, whose gradient is
    `2c - 1` times that of a sure label; so is that of APO-zero.

    Args:
        confidence: `c` in [0.5, 1], any shape.
    """
    return 2 * confidence - 1


def class_weights(
    desirable: float, undesirable: float, given: tuple[float | None, float | None] = (None, None)
) -> tuple[float, float]:
    """Return the weights of both kinds of answers: what is not given balances them.

    If both kinds are in the band as they are, both weigh 1; else the rarer one weighs more, so that
    the ratio lies in the middle of the band, https://arxiv.org/abs/2402.01306, equation 8.

    Args:
        desirable: Number of desirable answers, or the sum of their weights by confidence.
        undesirable: The same of the others.
        given: Weights that are set.

    >>> [round(weight, 2) for weight in class_weights(70, 120)]  # 140 : 120 is 7 : 6
    [2.0, 1.0]
    """
    for_desirable, for_undesirable = given
    if for_desirable is not None and for_undesirable is not None:
        return for_desirable, for_undesirable
    ratio = desirable / undesirable
    if for_desirable is None and for_undesirable is None:
        if is_balanced(desirable, undesirable, (1.0, 1.0)):
            return 1.0, 1.0
        return (_MIDDLE / ratio, 1.0) if ratio < 1 else (1.0, ratio / _MIDDLE)
    if for_desirable is None:
        assert for_undesirable is not None
        return for_undesirable * _MIDDLE / ratio, for_undesirable
    return for_desirable, for_desirable * ratio / _MIDDLE


def is_balanced(desirable: float, undesirable: float, weights: tuple[float, float]) -> bool:
    """Tell whether weights bring the ratio of both kinds into the band."""
    least, most = BAND
    return least <= desirable * weights[0] / (undesirable * weights[1]) <= most


def check_both_kinds(labels: Sequence[bool], name: str) -> None:
    """Refuse answers of one kind: nothing would hold the model where it is on the other side.

    Raises:
        DataError: All labels are the same.
    """
    if len(set(labels)) == 1:
        raise DataError(
            f"{name}: all {len(labels)} labels to train on are {str(labels[0]).lower()}; KTO "
            "weighs answers that were wanted against answers that were not: bring both kinds"
        )
