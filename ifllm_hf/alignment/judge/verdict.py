"""What a judge is asked and what it says: the types that all judges share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ifllm_hf.files import digest

BASELINE, CANDIDATE = "baseline", "candidate"
FIRST, SECOND, TIE = "first", "second", "tie"


@dataclass(frozen=True)
class Comparison:
    """A question with two answers.

    Attributes:
        prompt_id: Id of the question.
        user_id: The reader who asked it.
        question: What the judge sees.
        baseline: The answer of the model before.
        candidate: The answer of the model after.
    """

    prompt_id: str
    user_id: str
    question: str
    baseline: str
    candidate: str

    def in_order(self, first: str) -> tuple[str, str]:
        """Return both answers, that of `first` (`BASELINE` or `CANDIDATE`) in front."""
        both = (self.baseline, self.candidate)
        return both if first == BASELINE else both[::-1]


@dataclass(frozen=True)
class Verdict:
    """What a judge said of two answers in one order.

    Attributes:
        prompt_id: Id of the question.
        first: Whose answer stood first, `BASELINE` or `CANDIDATE`.
        winner: `FIRST`, `SECOND` or `TIE`.
        scores: Of the first and the second answer, or None where the judge gives none.
        reason: Why, in the judge's words.
    """

    prompt_id: str
    first: str
    winner: str
    scores: tuple[float, float] | None = None
    reason: str = ""

    @property
    def win(self) -> float:
        """1 where the candidate won, 0 where the baseline did, 1/2 for a tie."""
        if self.winner == TIE:
            return 0.5
        return float((self.winner == FIRST) == (self.first == CANDIDATE))

    def score_of(self, side: str) -> float:
        """Return the score of `BASELINE` or `CANDIDATE`; NaN where there is none."""
        if self.scores is None:
            return float("nan")
        return self.scores[0 if self.first == side else 1]


def winner_of(first: float, second: float) -> str:
    """Return whose score is higher: `FIRST`, `SECOND` or `TIE`."""
    return TIE if first == second else FIRST if first > second else SECOND


@dataclass
class Usage:
    """What judging took.

    Attributes:
        requests: Requests that were answered, malformed answers included.
        malformed: Answers that were no verdict.
        input_tokens: Tokens read, as the endpoint counts them.
        output_tokens: Tokens written.
    """

    requests: int = 0
    malformed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def add(self, other: Usage) -> None:
        """Add another account to this one."""
        self.requests += other.requests
        self.malformed += other.malformed
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens


@dataclass(frozen=True)
class Judged:
    """What came of one question in one order: a verdict, or the reason why there is none.

    Attributes:
        comparison: The question.
        first: Whose answer stood first.
        verdict: What was said, or None.
        failed: Why there is none, in words that are counted.
        usage: What it took.
        refused: The question itself is why; asked again, it would be refused again.
    """

    comparison: Comparison
    first: str
    verdict: Verdict | None
    failed: str | None = None
    usage: Usage = field(default_factory=Usage)
    refused: bool = False


class Judge(Protocol):
    """Somebody or something that compares answers."""

    @property
    def protocol(self) -> str:
        """How it judges, in a sentence for the report."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a verdict depends on beside question and answers, as JSON types."""
        ...

    @property
    def pointwise(self) -> bool:
        """Whether each answer is scored by itself, on a scale without a zero."""
        ...

    def orders(self, comparison: Comparison) -> Sequence[str]:
        """Return who stands first in each time that this question is judged."""
        ...

    def judge(
        self, asked: Sequence[tuple[Comparison, str]], *, worked_before: bool = False
    ) -> Iterator[Judged]:
        """Yield what came of every question and order, as soon as it is known, in any order.

        Args:
            asked: The questions.
            worked_before: This judge gave verdicts earlier: if the first questions fail now, it is
                not a matter of its settings.
        """
        ...


def content_key(comparison: Comparison, first: str, identity: Mapping[str, Any]) -> str:
    """Return the key of a verdict in the cache: a hash of all that it depends on."""
    # `first` too: both orders of two equal answers are two verdicts.
    said = [comparison.question, *comparison.in_order(first), first, dict(identity)]
    return digest(said, 32)
