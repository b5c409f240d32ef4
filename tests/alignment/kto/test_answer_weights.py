"""How much an answer counts."""

from __future__ import annotations

import numpy as np
import pytest

from ifllm_hf.alignment.kto.answer_weights import (
    check_both_kinds,
    class_weights,
    confidence_weights,
    is_balanced,
)
from ifllm_hf.errors import DataError


def test_a_weight_by_confidence_has_the_gradient_of_the_loss_to_expect() -> None:
    """Against the definition, by numerical derivative in the scaled reward h."""
    h, step = np.linspace(-3, 3, 13), 1e-6

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    for c in (0.5, 0.7, 1.0):

        def expected(x: np.ndarray, c: float = c) -> np.ndarray:  # the label may be wrong
            return c * (1 - sigmoid(x)) + (1 - c) * (1 - sigmoid(-x))

        def weighted(x: np.ndarray, c: float = c) -> np.ndarray:
            return confidence_weights(np.array(c)) * (1 - sigmoid(x))

        slopes = [(f(h + step) - f(h - step)) / (2 * step) for f in (expected, weighted)]
        np.testing.assert_allclose(slopes[0], slopes[1], atol=1e-9)


@pytest.mark.parametrize(
    ("counts", "given", "weights"),
    [
        ((100, 100), (None, None), (1, 1)),
        ((120, 100), (None, None), (1, 1)),  # 1.2 : 1 lies in the band
        ((70, 120), (None, None), (2, 1)),
        ((350, 100), (None, None), (1, 3)),
        ((70, 120), (None, 2.0), (4, 2)),
        ((350, 100), (2.0, None), (2, 6)),
        ((350, 100), (1.0, 0.5), (1, 0.5)),  # as it was asked for
    ],
)
def test_what_is_not_given_brings_both_kinds_into_the_band(
    counts: tuple[int, int],
    given: tuple[float | None, float | None],
    weights: tuple[float, float],
) -> None:
    found = class_weights(*counts, given)
    assert found == pytest.approx(weights)
    assert is_balanced(*counts, found) == (None in given)


def test_answers_of_one_kind_are_refused() -> None:
    check_both_kinds([True, False], "x.parquet")
    with pytest.raises(DataError, match="x.parquet: all 2 labels .* are false"):
        check_both_kinds([False, False], "x.parquet")
