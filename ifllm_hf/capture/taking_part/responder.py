"""What answers a participant's question, as far as taking part knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Message = dict[str, str]


@dataclass(frozen=True)
class ModelAnswer:
    """One answer, or why there is none.

    Attributes:
        text: Markdown as it came; empty where there is none.
        model: Who wrote it.
        parameters: With which settings.
        latency_ms: Until it was complete.
        refused: The model, or its host, declined to answer.
        error: Why there is no answer: timeout, busy, unreachable, empty or failed.
    """

    text: str
    model: str | None
    parameters: dict[str, Any] = field(default_factory=dict)
    latency_ms: float | None = None
    refused: bool = False
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether there is nothing to read."""
        return self.refused or self.error is not None

    def record(self, box: str) -> dict[str, Any]:
        """Return it as a session file stores it."""
        return {
            "box": box,
            "source": self.text,
            "model": self.model,
            "parameters": self.parameters,
            "latency_ms": self.latency_ms,
            "refused": self.refused,
            "error": self.error,
        }


@dataclass(frozen=True)
class ModelAnswers:
    """The answers to a question in the order in which they were made.

    Attributes:
        made: One or two.
        query_id: The dataset's turn that they are from, if any.
        domain: Its topic.
        bullet_suffix: Whether the dataset's question secretly asked for bullet points.
    """

    made: tuple[ModelAnswer, ...]
    query_id: str | None = None
    domain: str | None = None
    bullet_suffix: bool | None = None


class Responder(Protocol):
    """Answers questions.

    Attributes:
        name: As in the settings; stored with every turn.
        said: One sentence for the participant.
        costs: Whether answers count against the daily quota.
        free_questions: Whether any question may be asked; otherwise one of `questions`.
    """

    name: str
    said: str
    costs: bool
    free_questions: bool

    def questions(self, kind: str) -> list[str]:
        """Return what can be asked; empty where anything can."""
        ...

    def answer(self, question: str, histories: Sequence[Sequence[Message]]) -> ModelAnswers:
        """Answer with one text per history; never raises for what a model does."""
        ...
