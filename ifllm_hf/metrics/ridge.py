"""Logistic regression without intercept, L2-penalised, by Newton steps: one problem or many."""

from __future__ import annotations

import numpy as np

from ifllm_hf.metrics.weighted import FloatArray

_STEPS = 12
_SMALL = 1e-6


def ridge_logistic(
    x: FloatArray, y: FloatArray, penalty: FloatArray, weight: FloatArray | None = None
) -> FloatArray:
    """Minimise Σ_i w_i log(1 + exp(-(2 y_i - 1) x_i·b)) + Σ_j penalty_j b_j² / 2 over b.

    No intercept: features that change sign when left and right are swapped give p and 1 - p. With
    every penalty above 0 the loss is strictly convex and Newton's steps settle in a handful.

    Args:
        x: Features, shape (n, k), or (m, n, k) for m problems with the same rows.
        y: Labels 0 or 1, or probabilities, shape (n,).
        penalty: Shape (k,) or (m, k), all above 0.
        weight: Weight of every row, shape (n,); all 1 if None.

    Returns:
        Coefficients, shape (k,) or (m, k).
    """
    many = x[None] if x.ndim == 2 else x
    m, n, k = many.shape
    w = np.ones(n) if weight is None else weight
    lam = np.broadcast_to(penalty, (m, k))
    diagonal = lam[:, :, None] * np.eye(k)
    turned = np.ascontiguousarray(many.transpose(0, 2, 1))
    b = np.zeros((m, k))
    for _ in range(_STEPS):
        p = sigmoid(np.matmul(many, b[:, :, None])[:, :, 0])
        gradient = np.matmul(turned, ((p - y) * w)[:, :, None])[:, :, 0] + lam * b
        hessian = np.matmul(turned * (p * (1 - p) * w)[:, None, :], many) + diagonal
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        b = b - step
        if np.abs(step).max() < _SMALL:
            break
    return b[0] if x.ndim == 2 else b


def sigmoid(x: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-x)); at -x it gives 1 - p to the last digit or so."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float64)


def logit(p: FloatArray) -> FloatArray:
    """Return log(p / (1 - p)), with p kept within 1e-6 of 0 and 1 so that it is finite."""
    inside = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside) - np.log1p(-inside), dtype=np.float64)


def root_mean_square(x: FloatArray) -> FloatArray:
    """Return the scale of every column, 1 where a column is 0 throughout; rows stand second last.

    Dividing by it, without centring, keeps antisymmetric columns antisymmetric.
    """
    scale = np.sqrt(np.mean(x * x, axis=-2))
    return np.where(scale > 0, scale, 1.0)
