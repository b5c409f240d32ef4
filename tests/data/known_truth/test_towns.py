"""The world is the same every time, and its questions are split."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ifllm_hf.data.known_truth import TownQuestion, World, known_world, true_score
from ifllm_hf.data.known_truth.sentences import FILLERS, VALUES
from ifllm_hf.data.known_truth.towns import TOWNS
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest


def test_a_seed_is_one_world_in_every_process() -> None:
    script = (
        "from ifllm_hf.data.known_truth import World; from ifllm_hf.files import digest; "
        "w = World(3); print(digest([w.facts, [q.text for q in w.questions('test')]], 16))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    one, other = World(3), World(4)
    said = [digest([w.facts, [q.text for q in w.questions("test")]], 16) for w in (one, other)]
    assert said[0] == done.stdout.strip() != said[1]


def test_the_world_that_the_shipped_model_knows_stays() -> None:
    """Its weights hold these facts: another draw makes them worth nothing."""
    assert digest(known_world().facts, 16) == "68afd63b4fbc6826"


def test_towns_and_facts() -> None:
    world = known_world()
    assert len(set(TOWNS)) == 64 and len(VALUES) == 8
    assert set(world.facts) == set(TOWNS)
    assert all(facts[a] in VALUES[a] for facts in world.facts.values() for a in VALUES)
    every = [value for values in VALUES.values() for value in values]
    assert len(set(every)) == len(every) == 96 and len(set(FILLERS)) == 8


def test_no_question_stands_in_both_splits() -> None:
    world = known_world()
    asked = {
        split: [(q.town, frozenset(q.attributes)) for q in world.questions(split)]
        for split in ("train", "test")
    }
    assert len(asked["train"]) == 4301 and len(asked["test"]) == 1075
    assert len({*asked["train"], *asked["test"]}) == 64 * (28 + 56)
    assert {town for town, _ in asked["test"]} == set(TOWNS)
    with pytest.raises(ConfigError, match="split"):
        world.questions("dev")


def test_every_question_is_read_back_and_has_a_right_answer() -> None:
    world = known_world()
    for question in world.questions("test"):
        assert TownQuestion.parse(f" {question.text} ".replace(" ", "\n ")) == question
        assert true_score(question.text, world.right_answer(question)).score == 10
