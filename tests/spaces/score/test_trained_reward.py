"""A trained reward model beside the small ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.explain.evidence_parts import explain_evidence
from ifllm_hf.reward.explain.in_words import in_words
from ifllm_space.demo_data import DemoData, open_demo_data
from ifllm_space.pickers import first_turn
from ifllm_space.score.recording import own_turn
from ifllm_space.score.score_view import score_view
from ifllm_space.score.trained_reward import TrainedReward, load_trained
from tests.helpers.reward.model_with_processor import make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model, processor = make(evidence_head=True)
    with torch.no_grad():
        model.model.evidence.length_weight[0] = 1.0
        model.model.evidence.late_weight[:, :, 0] = 0.1
    place = tmp_path_factory.mktemp("model") / "tiny-reward"
    model.save_pretrained(place)
    processor.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> TrainedReward:
    return TrainedReward(folder)


def test_it_says_what_its_pipeline_says(trained: TrainedReward, demo_data: DemoData) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    view = json.loads(json.dumps(trained.view(turn), allow_nan=False))
    a, b = trained.scorer(turn["prompt"], [turn["response_a"], turn["response_b"]], turn)
    assert view["name"] == "tiny-reward"
    assert view["behavior"] == pytest.approx(b["preference"], rel=1e-3)
    without = (b["score"] - b["behavior"]) - (a["score"] - a["behavior"])
    assert view["text"] == pytest.approx(1 / (1 + np.exp(-without)), rel=1e-3)
    assert view["tokens"]
    for side, start, stop, share in view["tokens"]:
        assert 0 <= start < stop <= len(turn[f"response_{'ab'[side]}"]) and share != 0


def test_it_says_in_words_what_its_evidence_head_makes(
    trained: TrainedReward, demo_data: DemoData
) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    answers = [turn["response_a"], turn["response_b"]]
    model, processor = trained.scorer.model, trained.scorer.processor
    explained = explain_evidence(model, processor, turn["prompt"], answers, turn)
    assert trained.view(turn)["says"] == in_words(explained) != []
    bare = trained.view(own_turn("why", "light is scattered", "the sea"))
    assert any(said.startswith("A is longer (18 against 7 characters): ") for said in bare["says"])


def test_swapped_answers_turn_the_chance(trained: TrainedReward, demo_data: DemoData) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    swap = {"a": "b", "b": "a"}
    swapped = {**turn, "response_a": turn["response_b"], "response_b": turn["response_a"]}
    for channel in ("gaze", "mouse"):
        swapped[f"{channel}_on"] = [swap.get(side, side) for side in turn[f"{channel}_on"]]
    for name in ("text", "behavior"):
        assert trained.view(swapped)[name] == pytest.approx(1 - trained.view(turn)[name], abs=1e-3)


def test_own_mouse_and_bare_texts_are_scored(trained: TrainedReward) -> None:
    bare = trained.view(own_turn("why", "light is scattered", "the sea"))
    assert bare["behavior"] is None and bare["tokens"] == [] and 0 < bare["text"] < 1
    ticks: dict[str, Any] = {
        "t_ms": [100.0 * i for i in range(20)],
        "on": [0] * 10 + [1] * 10,
        "char": [3] * 20,
    }
    read = trained.view(own_turn("why", "light is scattered", "the sea", ticks))
    assert read["text"] == bare["text"] and read["behavior"] != bare["text"]


def test_score_shows_it_if_the_operator_named_one(
    folder: Path, trained: TrainedReward, demo_data: DemoData
) -> None:
    turn = demo_data.turn(first_turn(demo_data.index))
    assert score_view(turn, demo_data.reward, turn["fold"])["rewards"]["model"] is None
    shown = score_view(turn, demo_data.reward, turn["fold"], trained)["rewards"]["model"]
    assert shown == trained.view(turn)
    named = open_demo_data(demo_data.folder, model=folder)
    loaded = load_trained(named.model)
    assert loaded is not None and loaded.name == "tiny-reward"
    assert load_trained(demo_data.model) is None


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no reward model"):
        load_trained(tmp_path / "none")
