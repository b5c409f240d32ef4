"""What is asked of a judge, and what is a verdict."""

from __future__ import annotations

import json
import time

import pytest

from ifllm_hf.alignment.judge.rubric import _EXAMPLES, MalformedAnswer, messages, read_verdict
from ifllm_hf.alignment.judge.verdict import Comparison

PAIR = Comparison("p0", "r0", "Why?", "short", "a good deal longer than that")


def test_the_worked_examples_favour_no_outcome() -> None:
    outcomes = [verdict["winner"] for *_, verdict in _EXAMPLES]
    assert sorted(outcomes) == ["first", "second", "tie"]
    said = messages(PAIR, "baseline")
    for message in said:
        if message["role"] == "assistant":
            read_verdict(message["content"], "p", "baseline")
    longer = [len(b) > len(a) for _, a, b, v in _EXAMPLES if v["winner"] != "tie"]
    wins = [v["winner"] == "second" for *_, v in _EXAMPLES if v["winner"] != "tie"]
    assert sum(a == b for a, b in zip(longer, wins, strict=True)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", '"first"', "{}",
        '{"reason": "r", "score_first": 5, "score_second": 5}',
        '{"reason": "r", "score_first": 5, "score_second": 5, "winner": "A"}',
        '{"reason": "r", "score_first": 5.5, "score_second": 5, "winner": "tie"}',
        '{"reason": "r", "score_first": "5", "score_second": 5, "winner": "tie"}',
        '{"reason": "r", "score_first": true, "score_second": 5, "winner": "tie"}',
        '{"reason": "r", "score_first": 0, "score_second": 5, "winner": "tie"}',
        '{"reason": "r", "score_first": 5, "score_second": 5, "winner": "tie", "x": 1}',
        '{"reason": null, "score_first": 5, "score_second": 5, "winner": "tie"}',
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(text: str) -> None:
    with pytest.raises(MalformedAnswer):
        read_verdict(text, "p", "baseline")


def test_a_fence_around_the_object_is_forgiven() -> None:
    said = json.dumps({"reason": "r", "score_first": 5, "score_second": 6, "winner": "second"})
    verdict = read_verdict(f"```json\n{said}\n```", "p", "candidate")
    assert (verdict.winner, verdict.scores, verdict.win) == ("second", (5.0, 6.0), 0.0)


@pytest.mark.parametrize("said", ["[", "x", " ", "`", "```\n", "</s>", "<think>", "<|channel|>"])
def test_an_endless_answer_is_no_verdict_at_once(said: str) -> None:
    start = time.process_time()
    with pytest.raises(MalformedAnswer):
        read_verdict(said * (200_000 // len(said)) + ".", "p0", "baseline")
    with pytest.raises(MalformedAnswer):
        read_verdict(said * (15_000 // len(said)) + ".", "p0", "baseline")
    assert time.process_time() - start < 2
