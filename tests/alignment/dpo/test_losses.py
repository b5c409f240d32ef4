from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from ifllm_hf.alignment.dpo.losses import (
    NLL_REDUCTIONS,
    PREFERENCE_LOSSES,
    nll_loss,
    paper_epsilon,
    preference_loss,
)

DELTA = np.array([-30.0, -2.0, -0.1, 0.0, 0.3, 5.0, 40.0])
PER_TOKEN = DELTA / np.array([3, 5, 2, 4, 9, 7, 8])
CONFIDENCE = np.array([0.5, 0.55, 0.7, 0.9, 0.99, 1.0, 0.5])
BETA = 0.1


def log_sigmoid(x: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0.0, -x)


def by_hand(kind: str, noise_rate: float) -> np.ndarray:
    h, c = BETA * DELTA, CONFIDENCE
    if kind == "cdpo":
        return -c * log_sigmoid(h) - (1 - c) * log_sigmoid(-h)
    if kind in ("rdpo", "rdpo_paper"):
        e = np.clip(1 - c, 0, 0.45) if kind == "rdpo_paper" else noise_rate
        return ((1 - e) * -log_sigmoid(h) - e * -log_sigmoid(-h)) / (1 - 2 * e)
    if kind == "dpo":
        return -log_sigmoid(h)
    return ((PER_TOKEN if kind == "ipo" else DELTA) - 1 / (2 * BETA)) ** 2


@pytest.mark.parametrize("kind", PREFERENCE_LOSSES)
def test_preference_loss_equals_its_formula(kind: str) -> None:
    seen = preference_loss(
        kind, *(torch.tensor(a) for a in (DELTA, PER_TOKEN, CONFIDENCE)), BETA, noise_rate=0.2
    )
    assert_allclose(seen.numpy(), by_hand(kind, 0.2), rtol=1e-12)


@given(h=st.floats(-20, 20), c=st.floats(0.5, 1.0))
def test_cdpo_gradient_is_sigmoid_minus_confidence(h: float, c: float) -> None:
    delta = torch.tensor([h / BETA], dtype=torch.float64, requires_grad=True)
    confidence = torch.tensor([c], dtype=torch.float64)
    preference_loss("cdpo", delta, delta, confidence, BETA).sum().backward()
    assert delta.grad is not None
    assert_allclose(delta.grad.item() / BETA, 1 / (1 + np.exp(-h)) - c, atol=1e-12)


def test_a_coin_flip_pulls_nowhere_under_cdpo_and_hardest_under_rdpo_paper() -> None:
    confidence = torch.tensor([0.5, 0.75, 1.0], dtype=torch.float64)
    pull = {}
    for kind in ("cdpo", "rdpo_paper"):
        delta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        preference_loss(kind, delta, delta, confidence, 1.0).sum().backward()
        assert delta.grad is not None
        pull[kind] = -delta.grad.numpy()
    assert_allclose(pull["cdpo"], [0.0, 0.25, 0.5])
    assert_allclose(pull["rdpo_paper"], [5.0, 1.0, 0.5])


def test_rdpo_paper_has_no_lower_bound_and_cdpo_has() -> None:
    h = torch.linspace(0, 1e4, 5, dtype=torch.float64)
    half = torch.full_like(h, 0.5)
    assert preference_loss("rdpo_paper", h, h, half, 1.0).min() < -1e4
    assert preference_loss("cdpo", h, h, half, 1.0).min() > 0.69


def test_paper_epsilon_is_clamped() -> None:
    seen = paper_epsilon(torch.tensor([0.5, 0.54, 0.6, 1.0], dtype=torch.float64))
    assert_allclose(seen.numpy(), [0.45, 0.45, 0.4, 0.0])


@pytest.mark.parametrize("reduction", NLL_REDUCTIONS)
def test_nll_of_micro_batches_adds_up_to_the_batch(reduction: str) -> None:
    rng = np.random.default_rng(0)
    logps = -rng.random((8, 6))
    mask = (np.arange(6) < rng.integers(1, 7, size=(8, 1))).astype(float)
    tokens = mask.sum()
    total = -(logps * mask).sum(axis=1)
    expected = {
        "token_mean": total.sum() / tokens,
        "pair_mean": (total / mask.sum(axis=1)).mean(),
        "sum": total.mean(),
    }[reduction]
    for size in (8, 3, 1):
        parts = [
            nll_loss(
                torch.tensor(logps[i : i + size]),
                torch.tensor(mask[i : i + size]),
                reduction,
                8,
                tokens,
            )
            for i in range(0, 8, size)
        ]
        assert_allclose(sum(float(part) for part in parts), expected, rtol=1e-12)


def test_unknown_names_are_refused() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="'huber'"):
        preference_loss("huber", one, one, one, 0.1)
    with pytest.raises(ValueError, match="'median'"):
        nll_loss(one[None], one[None], "median", 1, 1)
