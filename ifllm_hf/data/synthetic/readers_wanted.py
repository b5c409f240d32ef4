"""What is wanted of made-up readers: what they are shown, what they like, what they do and say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ifllm_hf.errors import ConfigError


@dataclass(frozen=True)
class Shown:
    """An answer as a reader sees it."""

    question: str
    answer: str


Texts = Callable[[int, int], tuple[str, Sequence[str]]]
"""Gets the number of a turn, counted from 0 through the whole release, and the number of answers
(2 pairwise, 1 pointwise); returns a question and so many answers."""

Taste = Callable[[Shown, Shown], float]
"""Gets both answers, a and b; returns the probability that b is liked. Pointwise, a is this answer
and b the previous one, to its own question."""


@dataclass(frozen=True)
class Readers:
    """What made-up readers see, like, do and say.

    Clicks are drawn apart from everything else: a larger `click_share` keeps the clicks of a
    smaller one, and texts, likings and what behaviour points to stay the same.

    Attributes:
        texts: Where questions and answers come from; None: from a small vocabulary.
        taste: Which answer is liked; None: as `text_strength` says.
        text_strength: 0: length does not matter, 1: the longer answer is always liked; between,
            it is liked with probability 0.5 + 0.5 * text_strength. Without a `taste` alone.
        behavior_strength: Probability in [0.5, 1] that a turn's behaviour speaks for the answer
            that is liked, and not against it; 0.5 tells nothing.
        click_share: Share of the turns that are rated at all.
        click_error: Share of the ratings that name the wrong answer.
        pairwise_only: Whether all conversations are pairwise; else half of them.
    """

    texts: Texts | None = None
    taste: Taste | None = None
    text_strength: float = 0.2
    behavior_strength: float = 0.9
    click_share: float = 1.0
    click_error: float = 0.05
    pairwise_only: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: A share outside [0, 1], a strength of behaviour outside [0.5, 1].
        """
        for name, low in (
            ("behavior_strength", 0.5),
            ("click_share", 0),
            ("click_error", 0),
            ("text_strength", 0),
        ):
            value = getattr(self, name)
            if not low <= value <= 1:
                kind = "probability" if low else "share"
                raise ConfigError(
                    f"{name} is {value}; expected a {kind} from {low} to 1. Change the argument."
                )

    def described(self) -> dict[str, Any]:
        """Return the settings as JSON has them, functions by their names."""
        return {field.name: _described(getattr(self, field.name)) for field in fields(self)}

    def write(self, turn: int, sides: int) -> tuple[str, list[str]] | None:
        """Ask `texts` for the texts of a turn; None where there is no such source.

        Raises:
            ConfigError: It gave another number of answers, or a text that no file could hold.
        """
        if self.texts is None:
            return None
        question, answers = self.texts(turn, sides)
        answers = [answers] if isinstance(answers, str) else list(answers)
        if len(answers) != sides:
            raise ConfigError(
                f"texts gave {len(answers)} answers to {question[:60]!r}; expected {sides}, as "
                "many as it was asked for. Correct the function."
            )
        if not question.strip():
            raise ConfigError(
                f"texts gave a blank question for turn {turn}; expected words. Correct it."
            )
        for text in (question, *answers):
            if text.encode("utf-8", "ignore").decode() != text:
                raise ConfigError(
                    f"texts gave half a character in {text[:60]!r}; expected text that a file can "
                    "hold. Leave such answers out."
                )
        return question, answers

    def likes_b(self, a: Shown, b: Shown) -> float | None:
        """Ask `taste`; None where there is none.

        Raises:
            ConfigError: What it returns is no probability.
        """
        if self.taste is None:
            return None
        share = float(self.taste(a, b))
        if not 0 <= share <= 1:
            raise ConfigError(
                f"taste gave {share} for {b.answer[:60]!r} against {a.answer[:60]!r}; expected the "
                "probability that the second is liked, from 0 to 1. Correct the function."
            )
        return share


def _described(value: Any) -> Any:
    """Name a function without its address, so that the same settings read the same."""
    if not callable(value):
        return value
    if is_dataclass(value):
        return repr(value)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"
