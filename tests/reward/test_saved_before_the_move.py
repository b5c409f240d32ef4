"""What commit 7c7f356 saved still loads, and scores as it did there.

Saved files outlive the layout of the package: `saved_at_7c7f356` was written before its modules
moved, and is never made anew (its README.md says how it was made).
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import ifllm_hf
from ifllm_hf.reward.baselines.saving import load_model
from tests.helpers.fresh_process import python

SAVED = Path(__file__).with_name("saved_at_7c7f356")
EXPECTED: dict[str, list[float]] = json.loads((SAVED / "expected.json").read_text())
SCORED: dict[str, Any] = json.loads((SAVED / "reward_model.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def reward_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that was pushed."""
    folder = tmp_path_factory.mktemp("pushed") / "reward"
    with tarfile.open(SAVED / "reward_model.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_a_baseline_scores_as_it_did(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SAVED)  # `EncoderLR` names its encoder by the folder beside it
    model = load_model(f"{name}.skops")
    assert type(model).__name__ == name
    p = model.predict_proba(pl.read_csv("rows.csv"))
    np.testing.assert_allclose(p, EXPECTED[name], rtol=1e-6)


def test_a_reward_model_loads_as_our_classes(reward_model: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoProcessor, pipeline

    model = AutoModelForSequenceClassification.from_pretrained(reward_model)
    processor = AutoProcessor.from_pretrained(reward_model)
    assert type(model) is ifllm_hf.IFLLMForRewardModeling
    assert type(processor) is ifllm_hf.IFLLMProcessor
    question, answers = SCORED["question"], SCORED["answers"]
    for said, ticks in (("with_behavior", SCORED["ticks"]), ("without_behavior", None)):
        with torch.no_grad():
            batch = processor(question, answers, ticks, return_tensors="pt")
            rewards = model(**batch).rewards[:, 0].tolist()
        assert rewards == pytest.approx(SCORED[said], abs=1e-5)
    scorer = pipeline("implicit-reward", model=str(reward_model), device="cpu")
    scores = [row["score"] for row in scorer(question, answers, SCORED["ticks"])]
    assert scores == pytest.approx(SCORED["with_behavior"], abs=1e-5)


# In this process our package cannot be imported: the folder brings its own code.
_STRANGER = """
import json, os, sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ifllm_hf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere())
import torch
from transformers import AutoModelForSequenceClassification, AutoProcessor, pipeline

folder, scored = os.environ["REWARD_MODEL"], json.loads(os.environ["SCORED"])
question, answers, ticks = (scored[name] for name in ("question", "answers", "ticks"))
model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
found = {}
for said, seen in (("with_behavior", ticks), ("without_behavior", None)):
    with torch.no_grad():
        batch = processor(question, answers, seen, return_tensors="pt")
        found[said] = model(**batch).rewards[:, 0].tolist()
scorer = pipeline("implicit-reward", model=folder, trust_remote_code=True, device="cpu")
found["pipeline"] = [row["score"] for row in scorer(question, answers, ticks)]
found["ours"] = sorted(name for name in sys.modules if name.split(".")[0] == "ifllm_hf")
print(json.dumps(found))
"""


def test_a_reward_model_loads_without_the_package(reward_model: Path, tmp_path: Path) -> None:
    told = {"REWARD_MODEL": str(reward_model), "SCORED": json.dumps(SCORED)}
    found = python(_STRANGER, tmp_path, tmp_path, **told)
    assert found["ours"] == []
    for said in ("with_behavior", "without_behavior"):
        assert found[said] == pytest.approx(SCORED[said], abs=1e-5)
    assert found["pipeline"] == pytest.approx(SCORED["with_behavior"], abs=1e-5)
