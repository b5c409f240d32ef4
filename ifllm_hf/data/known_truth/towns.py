"""The made-up world: 64 towns, eight facts of each, and the questions that ask for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations

import numpy as np

from ifllm_hf.data.known_truth.sentences import VALUES, Statement, render_answer
from ifllm_hf.errors import DataError, require_one_of

SPLITS = ("train", "test")
TEST_SHARE = 0.2
ATTRIBUTES = tuple(VALUES)
_BEGINNINGS = ("Vel", "Kar", "Or", "Tam", "Bri", "Dun", "Sel", "Mor")
_ENDS = ("moor", "ton", "wick", "dale", "by", "haven", "ford", "stead")
TOWNS = tuple(beginning + end for beginning in _BEGINNINGS for end in _ENDS)
_WORLD_SEED = 0x70B2
_QUESTION = re.compile(r"What are (the .+) of (\w+)\?")


@dataclass(frozen=True)
class TownQuestion:
    """A question for two or three facts of a town.

    Attributes:
        town: One of `TOWNS`.
        attributes: What is asked for, in this order.
    """

    town: str
    attributes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The question in words.

        >>> TownQuestion("Velmoor", ("river", "bird", "tree")).text
        'What are the river, the bird and the tree of Velmoor?'
        """
        *most, last = [f"the {attribute}" for attribute in self.attributes]
        return f"What are {', '.join(most)} and {last} of {self.town}?"

    @classmethod
    def parse(cls, text: str) -> TownQuestion:
        """Read a question from its words; white space does not matter.

        Raises:
            DataError: It is no question of the world.
        """
        found = _QUESTION.fullmatch(" ".join(text.split()))
        asked = re.split(r", | and ", found[1]) if found else []
        attributes = tuple(part.removeprefix("the ") for part in asked)
        if found:
            question = cls(found[2], attributes)
            known = question.town in TOWNS and set(attributes) <= set(ATTRIBUTES)
            if known and 2 <= len(set(attributes)) == len(attributes) <= 3:
                return question
        raise DataError(
            f"{text[:80]!r} is no question of the world of towns; expected one such as "
            f"{cls(TOWNS[0], ATTRIBUTES[:2]).text!r}"
        )


@dataclass(frozen=True)
class World:
    """Who has which river, mayor and bread.

    Attributes:
        seed: Of facts and questions; the model that comes with the package knows the world 0.
    """

    seed: int = 0

    @cached_property
    def facts(self) -> Mapping[str, Mapping[str, str]]:
        """By town and attribute, what is true."""
        rng = np.random.default_rng([_WORLD_SEED, self.seed])
        return {
            town: {a: values[int(rng.integers(len(values)))] for a, values in VALUES.items()}
            for town in TOWNS
        }

    @cached_property
    def _questions(self) -> Mapping[str, tuple[TownQuestion, ...]]:
        rng = np.random.default_rng([_WORLD_SEED, self.seed, 1])
        asked = [c for n in (2, 3) for c in combinations(ATTRIBUTES, n)]
        every = [
            TownQuestion(town, tuple(str(a) for a in rng.permutation(attributes)))
            for town in TOWNS
            for attributes in asked
        ]
        order = rng.permutation(len(every)).tolist()
        n_test = round(TEST_SHARE * len(every))
        parts = {"test": order[:n_test], "train": order[n_test:]}
        return {split: tuple(every[i] for i in part) for split, part in parts.items()}

    def questions(self, split: str) -> tuple[TownQuestion, ...]:
        """Return the questions of a split, in an order that means nothing.

        Every town and choice of facts is asked for once, 4,301 times in `train` and 1,075 times in
        `test`: facts are shared by both, questions are not.

        Args:
            split: `train` or `test`.

        Raises:
            ConfigError: There is no such split.
        """
        require_one_of("split", split, SPLITS)
        return self._questions[split]

    def right_answer(self, question: TownQuestion) -> str:
        """Return an answer that says what is asked for and nothing else."""
        truth = self.facts[question.town]
        return render_answer([Statement(a, truth[a]) for a in question.attributes])


@cache
def known_world(seed: int = 0) -> World:
    """Return the world of a seed, its facts drawn once."""
    return World(seed)
