"""The truth as a judge: `judge.kind: function` with `recipes/known-truth-judge.yaml`."""

from __future__ import annotations

from ifllm_hf.data.known_truth import true_score


def score_of_answer(answer: str, question: str) -> float:
    """Return what an answer is worth, 1 to 10.

    >>> score_of_answer("", "What are the colour and the bird of Karby?")
    5.5

    Raises:
        DataError: `question` is no question of the world.
    """
    return true_score(question, answer).score
