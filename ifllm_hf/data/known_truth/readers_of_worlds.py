"""What a made-up release takes from a world: its questions and answers, and readers with taste.

Readers(texts=WrittenTexts(), taste=TrueTaste(), behavior_strength=0.75, click_share=0.2)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ifllm_hf.data.known_truth.answer_writers import some_writer
from ifllm_hf.data.known_truth.sentences import render_answer
from ifllm_hf.data.known_truth.towns import World, known_world
from ifllm_hf.data.known_truth.true_score import true_score
from ifllm_hf.data.synthetic import Shown
from ifllm_hf.errors import ConfigError


@dataclass(frozen=True)
class TrueTaste:
    """Likes b with probability 1 / (1 + exp(-slope (true score of b - true score of a))).

    Attributes:
        slope: Per point of the true score; 0 likes anything, infinity knows the truth.
        world: Whose truth it is.
    """

    slope: float = 1.0
    world: World = known_world()

    def __call__(self, a: Shown, b: Shown) -> float:
        """Return the probability that b is liked.

        Raises:
            DataError: A question is not of the world.
        """
        scores = [true_score(one.question, one.answer, self.world).score for one in (a, b)]
        if scores[0] == scores[1]:
            return 0.5
        # The same function as above, and a number however large the slope is.
        return 0.5 + 0.5 * math.tanh(self.slope * (scores[1] - scores[0]) / 2)


@dataclass(frozen=True)
class WrittenTexts:
    """Questions of a world, each answered by two writers drawn at random.

    Attributes:
        split: Of the questions.
        seed: Of the writers and what they write.
        world: Whose questions they are.
    """

    split: str = "train"
    seed: int = 0
    world: World = known_world()

    def __call__(self, turn: int, sides: int) -> tuple[str, list[str]]:
        """Return the question of a turn and its answers."""
        questions = self.world.questions(self.split)
        question = questions[turn % len(questions)]
        rng = np.random.default_rng([self.seed, turn])
        answers = [some_writer(rng).write(rng, question, self.world) for _ in range(sides)]
        return question.text, [render_answer(answer) for answer in answers]


class PairsInTurn:
    """Ready pairs, one a turn: `ifllm_hf.data.synthetic.count_turns` says how many are needed."""

    def __init__(self, pairs: Sequence[tuple[str, str, str]]) -> None:
        """Keep (question, answer, other answer); a pointwise turn shows the first answer alone."""
        self.pairs = pairs

    def __call__(self, turn: int, sides: int) -> tuple[str, Sequence[str]]:
        """Return the question of a turn and its answers.

        Raises:
            ConfigError: There are fewer pairs than turns.
        """
        if turn >= len(self.pairs):
            raise ConfigError(
                f"there are {len(self.pairs)} pairs and more turns than that; give as many as "
                "count_turns says, or write fewer conversations"
            )
        question, *answers = self.pairs[turn]
        return question, answers[:sides]
