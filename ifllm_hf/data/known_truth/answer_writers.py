"""Writers of answers, from one who knows the towns to one who babbles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ifllm_hf.data.known_truth.sentences import (
    FILLERS,
    VALUES,
    Filler,
    Item,
    Nonsense,
    Statement,
)
from ifllm_hf.data.known_truth.towns import ATTRIBUTES, TownQuestion, World

_BABBLE = ("the", "is", "of", "and", "town", "are", "what", *ATTRIBUTES)


@dataclass(frozen=True)
class AnswerWriter:
    """How somebody answers; all numbers are probabilities.

    Attributes:
        knows: That a fact comes out right.
        omits: That an asked fact is left out.
        fills: Of a filler, twice over.
        wanders: Of a fact that nobody asked for, twice over.
        repeats: That the first statement is made again at the end.
        babbles: Of a sentence without sense.
    """

    knows: float
    omits: float = 0.0
    fills: float = 0.0
    wanders: float = 0.0
    repeats: float = 0.0
    babbles: float = 0.0

    def write(self, rng: np.random.Generator, question: TownQuestion, world: World) -> list[Item]:
        """Answer a question: the asked facts in order, and around them what else is said."""
        items: list[Item] = [
            self._state(rng, world, question.town, attribute)
            for attribute in question.attributes
            if rng.random() >= self.omits
        ]
        first = items[:1]
        unasked = [a for a in ATTRIBUTES if a not in question.attributes]
        for at in rng.permutation(len(unasked))[: rng.binomial(2, self.wanders)].tolist():
            items.append(self._state(rng, world, question.town, unasked[at]))
        if rng.random() < self.repeats:
            items += first
        if rng.random() < self.babbles:
            words = rng.choice(_BABBLE, int(rng.integers(3, 7))).tolist()
            items.insert(int(rng.integers(len(items) + 1)), Nonsense(" ".join(words) + "."))
        for _ in range(rng.binomial(2, self.fills)):
            filler = Filler(FILLERS[int(rng.integers(len(FILLERS)))])
            items.insert(int(rng.integers(len(items) + 1)), filler)
        return items

    def _state(
        self, rng: np.random.Generator, world: World, town: str, attribute: str
    ) -> Statement:
        truth = world.facts[town][attribute]
        others = [value for value in VALUES[attribute] if value != truth]
        said = truth if rng.random() < self.knows else others[int(rng.integers(len(others)))]
        return Statement(attribute, said)


def some_writer(rng: np.random.Generator) -> AnswerWriter:
    """Draw a writer: most are good, some are not."""
    skill = float(rng.beta(1.6, 0.8))
    return AnswerWriter(
        knows=0.35 + 0.64 * skill,
        omits=0.1 * (1 - skill),
        fills=0.5 * (1 - skill),
        wanders=0.4 * (1 - skill),
        repeats=0.3 * (1 - skill),
        babbles=0.3 * (1 - skill),
    )
