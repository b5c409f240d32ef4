"""Which pairs pull: the share of the gradient by decile of confidence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

DECILES = 10


class GradientShare:
    """Sum |d loss / d margin| of the pairs by the decile of their confidence.

    Nothing is moved from the device before `flush`, so that a step waits for nothing.

    Args:
        confidence: Of the training pairs, shape (pairs,).

    Attributes:
        mass: The sum of |d loss / d margin| by decile over the run, shape (10,).
    """

    def __init__(self, confidence: npt.NDArray[np.float64]) -> None:
        """Take the inner edges of the deciles; a pair's decile is the number at or below it."""
        inner = np.arange(1, DECILES) / DECILES
        self._edges = np.quantile(confidence, inner).astype(np.float32)
        self._pulls: list[torch.Tensor] = []
        self.mass = np.zeros(DECILES)

    def pulls(
        self,
        loss: Callable[[torch.Tensor], torch.Tensor],
        delta: torch.Tensor,
        confidence: torch.Tensor,
    ) -> torch.Tensor:
        """Return the confidence and |d loss / d margin| of each pair, shape (pairs, 2)."""
        delta = delta.detach().clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(delta).sum(), delta)
        return torch.stack([confidence, gradient.abs()], dim=1)

    def add(self, pulls: torch.Tensor) -> None:
        """Keep what `pulls` gave, gathered from all ranks."""
        self._pulls.append(pulls)

    def flush(self) -> dict[str, float]:
        """Return the share of each decile since the last time, for the log; {} if nothing pulls."""
        if not self._pulls:
            return {}
        confidence, pull = torch.cat(self._pulls).float().cpu().numpy().T
        self._pulls.clear()
        decile = np.searchsorted(self._edges, confidence, side="right")
        mass = np.bincount(decile, weights=pull, minlength=DECILES)
        if not mass.sum() > 0:
            return {}
        self.mass += mass
        return {f"gradient_share/decile_{i + 1}": float(s) for i, s in enumerate(mass / mass.sum())}
