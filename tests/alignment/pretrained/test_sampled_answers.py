"""A model is asked in plain words, twice for a pair; what is there is not asked again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pretrained import sampled_answers
from ifllm_hf.alignment.pretrained.sampled_answers import sample_answers, sample_pairs
from ifllm_hf.data.known_truth import PairsInTurn, TrueTaste, known_world
from ifllm_hf.data.synthetic import Readers, count_turns, write_synthetic_release
from ifllm_hf.errors import ConfigError

QUESTIONS = [q.text for q in known_world().questions("train")]


def test_pairs_of_the_model_become_a_release(tmp_path: Path) -> None:
    n = count_turns(3, defects=False)
    pairs = sample_pairs(QUESTIONS[:n], tmp_path / "kept")
    assert [question for question, _, _ in pairs] == QUESTIONS[:n]
    assert sum(a != b for _, a, b in pairs) > n / 2
    again = sample_answers(QUESTIONS[:n], tmp_path / "other", n=2)
    assert [(a, b) for _, a, b in pairs] == [tuple(both) for both in again]
    readers = Readers(texts=PairsInTurn(pairs), taste=TrueTaste(), pairwise_only=True)
    truth = write_synthetic_release(
        tmp_path / "r", conversations=3, readers=readers, defects=False, ticks_per_turn=100
    )
    assert truth.turns["liking_b"].is_between(0, 1).all() and truth.turns.height == n


def test_answers_that_are_kept_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = sample_answers(QUESTIONS[:4], tmp_path, n=2)
    monkeypatch.setattr("ifllm_hf.alignment.generate.answers.make_backend", lambda *a: None)
    assert sample_answers(QUESTIONS[:4], tmp_path, n=2) == first
    with pytest.raises(AttributeError):
        sample_answers(QUESTIONS[4:5], tmp_path)


def test_a_question_looks_as_in_the_recipes() -> None:
    asked = sampled_answers._asked("Why?", PromptFormat())
    assert asked.prompt == "Question: Why?\n\nAnswer:" and asked.question == "Why?"
    chat = sampled_answers._asked("Why?", PromptFormat(prompt_format="chat"))
    assert chat.prompt == [{"role": "user", "content": "Why?"}]


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    for spec in (ModelSpec("x", nowhere), ModelSpec("x", "known-truth", adapter=nowhere)):
        with pytest.raises(ConfigError, match="nowhere"):
            sample_answers(QUESTIONS[:1], tmp_path / "kept", spec=spec)
