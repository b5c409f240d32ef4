"""Turns whose preference follows a hidden feature and the length, and a model of that feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl


def make_turns(
    workers: int = 12, conversations: int = 3, turns: int = 3, seed: int = 0, signal: float = 1.5
) -> pl.DataFrame:
    """Made-up pairwise turns: preference follows a hidden antisymmetric feature and the length."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    query = 100
    for w in range(workers):
        start = datetime(2025, 9, 1, tzinfo=UTC) + timedelta(days=int(w))
        for c in range(1, conversations + 1):
            for t in range(1, turns + 1):
                query += int(rng.integers(1, 4))
                dwell_a, dwell_b = rng.normal(size=2)
                len_a, len_b = rng.integers(20, 200, 2)
                logit = signal * (dwell_b - dwell_a) + np.log(len_b / len_a)
                rows.append(
                    {
                        "query_id": query,
                        "conversation_id": f"worker_{w:02d}/{2 * c + 1}",
                        "user_id": f"worker_{w:02d}",
                        "task_id": 2 * c + 1,
                        "turn": t,
                        "kind": "pairwise",
                        "prompt": "why?",
                        "response_a": "x" * int(len_a),
                        "response_b": "x" * int(len_b),
                        "likert_a": 4,
                        "likert_b": 3,
                        "preference": "b" if rng.random() < 1 / (1 + np.exp(-logit)) else "a",
                        "better_than_previous": None,
                        "asked_at": start + timedelta(hours=int(c), minutes=int(t)),
                        "dwell_a": dwell_a,
                        "dwell_b": dwell_b,
                        "dwell_difference": dwell_b - dwell_a,
                    }
                )
    return pl.DataFrame(rows, schema_overrides={"better_than_previous": pl.Boolean})


@dataclass
class DwellModel:
    """Logistic regression on one antisymmetric feature; counts its fits through `log`."""

    name: str = "dwell"
    antisymmetric: bool = True
    intercept: float = 0.0
    log: list[int] | None = None
    slope: float = field(default=0.0, init=False)

    def __deepcopy__(self, memo: object) -> DwellModel:
        return DwellModel(self.name, self.antisymmetric, self.intercept, self.log)

    def config(self) -> dict[str, Any]:
        return {"intercept": self.intercept}

    def fit(self, rows: pl.DataFrame, y: Any, groups: Any, weight: Any = None) -> DwellModel:
        if self.log is not None:
            self.log.append(len(rows))
        x = self._x(rows)
        for _ in range(20):
            p = 1 / (1 + np.exp(-self.slope * x))
            self.slope -= (np.sum((p - y) * x) + self.slope) / (np.sum(p * (1 - p) * x * x) + 1)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> Any:
        return 1 / (1 + np.exp(-self.slope * self._x(rows) - self.intercept))

    @staticmethod
    def _x(rows: pl.DataFrame) -> Any:
        return (rows["dwell_b"] - rows["dwell_a"]).to_numpy()
