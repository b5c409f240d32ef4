"""A made-up release of written answers, prepared, with its truth: no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ifllm_hf.alignment.known_truth.made_world import MadeWorld, with_truth
from ifllm_hf.alignment.labels.write import read_turns_with_features
from ifllm_hf.data.known_truth import TrueTaste, WrittenTexts
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import Readers, write_synthetic_release

Record = dict[str, Any]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> MadeWorld:
    """110 conversations of readers whose behaviour tells nearly everything; a fifth of clicks."""
    place = tmp_path_factory.mktemp("world")
    readers = Readers(
        texts=WrittenTexts(),
        taste=TrueTaste(),
        behavior_strength=0.95,
        click_share=0.5,
        pairwise_only=True,
    )
    truth = write_synthetic_release(
        place / "release", conversations=110, readers=readers, defects=False, ticks_per_turn=100
    )
    prepare(place / "release", place / "ifllm", progress=False)
    turns = read_turns_with_features(place / "ifllm")
    return with_truth(turns, truth.turns.select("query_id", "liked"))


@pytest.fixture
def record() -> Callable[..., Record]:
    """Return what makes the line of a cell: two readers of ten answers each."""

    def make(seed: int = 0, **given: Any) -> Record:
        rise = given.pop("rise", (0.5, 0.5))
        made: Record = {
            "family": "f",
            "base": "base 0",
            "source": "explicit",
            "share": 0.2,
            "strength": None,
            "seed": seed,
            "loss": "cdpo",
            "damage": None,
            "labels": {
                "pairs": 300,
                "confidence": 0.75,
                "liked": 240,
                "decided": 250,
                "right": 200,
                "dropped": {},
                "bins": [
                    {
                        "origin": origin,
                        "low": 0.7,
                        "pairs": 150,
                        "confidence": 112.5,
                        "liked": liked,
                        "decided": 125,
                        "right": 100,
                    }
                    for origin, liked in (("behavior", 90), ("click and behavior", 150))
                ],
            },
            "readers": {f"r{k}": [10, 70.0, 70.0 + 10 * up] for k, up in enumerate(rise)},
            "parts": {
                "before": {"answers": 20, "with_nonsense": 2},
                "after": {"answers": 20, "with_nonsense": 1},
            },
            "seconds": {"world": 1.0, "training": 2.0},
            "versions": {"torch": "2"},
            **given,
        }
        names = ("source", "share", "strength", "seed", "loss", "damage")
        return {"key": "-".join(str(made[name]) for name in names), **made}

    return make
