"""Made-up turns whose true preference is known, and a small model of them.

python tests/helpers/labelled_turns.py     # the table of docs/label.md
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.data.schema import TURNS

FEATURES = 3


def make_turns(
    workers: int = 50,
    per_worker: int = 40,
    separation: float = 1.0,
    nu: float = 0.15,
    errors: str = "independent",
    seed: int = 0,
) -> tuple[pl.DataFrame, np.ndarray]:
    """Pairs with a true preference, behaviour that depends on it, and clicks that may be wrong.

    Three Gaussian features differ between the sides; their sum names the preferred side with
    probability Phi(`separation`). Errors at rate `nu`: `independent` of behaviour, or `follow` it:
    only where behaviour points to the wrong side, at a rate that makes `nu` over all pairs.

    Returns:
        Turns with the features, without the truth; and whether b is truly preferred, by turn.
    """
    rng = np.random.default_rng(seed)
    n = workers * per_worker
    b_liked = rng.random(n) < 0.5
    sign = np.where(b_liked, 1.0, -1.0)
    gap = sign[:, None] * separation / np.sqrt(FEATURES) + rng.normal(size=(n, FEATURES))
    common = rng.normal(size=(n, FEATURES))
    if errors == "independent":
        wrong = rng.random(n) < nu
    else:
        misled = gap.sum(axis=1) * sign < 0
        wrong = misled & (rng.random(n) < nu / misled.mean())
    click_b = b_liked ^ wrong
    likert_a = np.where(rng.random(n) < 0.5, 3, np.where(b_liked, 2, 4))
    rows: dict[str, Any] = {
        "query_id": np.arange(1000, 1000 + n),
        "conversation_id": [f"w{i // per_worker:03d}/3" for i in range(n)],
        "user_id": [f"w{i // per_worker:03d}" for i in range(n)],
        "task_id": np.full(n, 3),
        "turn": np.arange(n) % per_worker + 1,
        "kind": ["pairwise"] * n,
        "prompt": [f"why {i}?" for i in range(n)],
        "response_a": [f"left {i}" for i in range(n)],
        "response_b": [f"right {i}" for i in range(n)],
        "bullet_suffix": np.arange(n) % 2 == 0,
        "history_a": [_past("a", i % per_worker) for i in range(n)],
        "history_b": [_past("b", i % per_worker) for i in range(n)],
        "likert_a": likert_a,
        "likert_b": np.full(n, 3),
        "preference": np.where(click_b, "b", "a").tolist(),
        "has_error_answer": np.zeros(n, dtype=bool),
        "fold": np.arange(n) // per_worker % 5,
    }
    turns = pl.DataFrame(rows, schema=_schema(rows))
    for k in range(FEATURES):
        turns = turns.with_columns(
            pl.Series(f"f{k}_a", common[:, k] - gap[:, k] / 2),
            pl.Series(f"f{k}_b", common[:, k] + gap[:, k] / 2),
        )
    return turns, b_liked


def _past(side: str, turns: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"past of {side}"}] if turns else []


def _schema(rows: dict[str, Any]) -> dict[str, Any]:
    full = pl.Schema(pl.DataFrame(TURNS.empty_table()).schema)
    return {name: full[name] for name in rows}


@dataclass
class GapModel:
    """Logistic regression on the differences, without intercept; writes down what it saw."""

    name: str = "gap"
    antisymmetric: bool = True
    bias: float = 0.0
    sharpness: float = 1.0
    log: list[tuple[str, set[str], set[str]]] = field(default_factory=list)
    weights: np.ndarray | None = field(default=None, init=False)
    trained: set[str] = field(default_factory=set, init=False)

    def __deepcopy__(self, memo: object) -> GapModel:
        return GapModel(self.name, self.antisymmetric, self.bias, self.sharpness, self.log)

    def config(self) -> dict[str, Any]:
        return {"bias": self.bias, "sharpness": self.sharpness}

    def fit(self, rows: pl.DataFrame, y: Any, groups: Any, weight: Any = None) -> GapModel:
        assert set(np.unique(y)) <= {0.0, 1.0}
        x = self._x(rows)
        w = np.zeros(x.shape[1])
        for _ in range(15):
            p = 1 / (1 + np.exp(-x @ w))
            hessian = (x * (p * (1 - p))[:, None]).T @ x + np.eye(len(w))
            w -= np.linalg.solve(hessian, x.T @ (p - y) + w)
        self.weights, self.trained = w, set(groups)
        return self

    def predict_proba(self, rows: pl.DataFrame) -> Any:
        assert "preference" not in rows.columns
        self.log.append((self.name, self.trained, set(rows["user_id"])))
        return 1 / (1 + np.exp(-self.sharpness * (self._x(rows) @ self.weights) - self.bias))

    @staticmethod
    def _x(rows: pl.DataFrame) -> np.ndarray:
        columns = [pl.col(f"f{k}_b") - pl.col(f"f{k}_a") for k in range(FEATURES)]
        return rows.select(columns).to_numpy()


def against_truth(table: pl.DataFrame, b_liked: np.ndarray) -> dict[str, np.ndarray]:
    """Compare click, behaviour and the combined label with the truth, pair by pair."""
    truth = b_liked[table["query_id"].to_numpy() - 1000]
    return {
        "click": (table["explicit_preference"] == "b").to_numpy() == truth,
        "behaviour": (table["p_b_behavior"] > 0.5).to_numpy() == truth,
        "both": (table["p_b"] > 0.5).to_numpy() == truth,
        "confidence": table["confidence"].to_numpy().astype(np.float64),
    }


def main() -> None:
    """Print how often each label is right, over five seeds of 3,000 pairs of 50 readers."""
    from ifllm_hf.alignment.labels.write import write_labels

    cases = [
        (1.0, 0.15, 0.15, "independent"),
        (1.0, 0.1, 0.1, "independent"),
        (1.0, 0.05, 0.05, "independent"),
        (0.5, 0.05, 0.05, "independent"),
        (0.5, 0.05, 0.15, "independent"),
        (1.0, 0.1, 0.1, "follow"),
        (0.5, 0.05, 0.05, "follow"),
    ]
    sys.stdout.write("| separation | nu | nu assumed | errors | click | behaviour | both ")
    sys.stdout.write("| mean confidence |\n|---|---|---|---|---|---|---|---|\n")
    for separation, nu, assumed, errors in cases:
        found = []
        for seed in range(5):
            turns, b_liked = make_turns(50, 60, separation, nu, errors, seed)
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "x.parquet"
                write_labels(turns, out, source="both", model=GapModel, nu=assumed, progress=False)
                found.append(against_truth(pl.read_parquet(out), b_liked))
        means = [np.mean([f[key].mean() for f in found]) for key in found[0]]
        shown = " | ".join(f"{mean:.3f}" for mean in means)
        sys.stdout.write(f"| {separation} | {nu} | {assumed} | {errors} | {shown} |\n")


if __name__ == "__main__":
    main()
