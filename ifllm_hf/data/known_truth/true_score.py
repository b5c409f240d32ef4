"""What an answer is truly worth, from 1 to 10, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ifllm_hf.data.known_truth.sentences import Filler, Item, Nonsense, Statement, parse_answer
from ifllm_hf.data.known_truth.towns import TownQuestion, World, known_world


@dataclass(frozen=True)
class TrueScore:
    """What an answer is worth, as counts of what it says.

    Attributes:
        asked: Facts that the question asks for.
        right: Asked facts that the answer has right.
        wrong: Wrong values that it gives for asked facts, each once.
        unasked: Facts that nobody asked for, right or wrong, each once.
        repeats: Statements that were made before.
        fillers: Sentences that say nothing.
        nonsense: Sentences that cannot be understood.
    """

    asked: int
    right: int = 0
    wrong: int = 0
    unasked: int = 0
    repeats: int = 0
    fillers: int = 0
    nonsense: int = 0

    @property
    def unclipped(self) -> float:
        """The score before it is held to 1..10."""
        share = (self.right - self.wrong) / self.asked
        empty = self.fillers + self.unasked + self.repeats
        return 5.5 + 4.5 * (share - 0.2 * empty - 0.3 * self.nonsense)

    @property
    def score(self) -> float:
        """5.5 + 4.5 ((right - wrong) / asked - .2 empty - .3 nonsense), held to 1..10.

        Empty are fillers, unasked facts and repeats. Length is not in it.
        """
        return min(10.0, max(1.0, self.unclipped))


def score_items(question: TownQuestion, items: Iterable[Item], world: World) -> TrueScore:
    """Return what statements are worth as an answer; their order does not matter."""
    counts = Counter(items)
    truth = world.facts[question.town]
    right = wrong = unasked = repeats = fillers = nonsense = 0
    for item, times in counts.items():
        match item:
            case Statement(attribute, value):
                repeats += times - 1
                if attribute not in question.attributes:
                    unasked += 1
                elif value == truth[attribute]:
                    right += 1
                else:
                    wrong += 1
            case Filler():
                fillers += times
            case Nonsense():
                nonsense += times
    return TrueScore(len(question.attributes), right, wrong, unasked, repeats, fillers, nonsense)


def true_score(question: str, answer: str, world: World | None = None) -> TrueScore:
    """Return what a text is worth as an answer.

    Args:
        question: A question of the world, in words.
        answer: Any text at all; what cannot be understood counts as nonsense.
        world: Default: the one that the model in the package knows.

    Raises:
        DataError: `question` is no question of the world.
    """
    asked = TownQuestion.parse(question)
    return score_items(asked, parse_answer(answer), world or known_world())
