"""A human looks at every question before it may become public.

Patterns find e-mail addresses and numbers that may call somebody; names they do not find. So
nothing counts as harmless because nothing was found: a question is in a public export only after
somebody read it and said yes. Decisions lie in `reviews.csv` beside the sessions, without the
question: `user_id,turn,decision,flags`.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ifllm_hf.data.sessions.session_file import Record
from ifllm_hf.data.tables.tasks import EMAIL_PATTERN
from ifllm_hf.errors import DataError

REVIEWS = "reviews.csv"
PUBLISH, WITHHOLD = "publish", "withhold"
_FIELDS = ("user_id", "turn", "decision", "flags")

_PATTERNS = {
    "e-mail": re.compile(EMAIL_PATTERN),
    # Eight digits or more, with what people put between them; years and prices are shorter.
    "phone or number": re.compile(r"(?<![\w.])\+?\d(?:[ ().\-/]{0,2}\d){7,}(?!\w)"),
    "web address": re.compile(r"https?://\S+|www\.\S+", re.IGNORECASE),
    "handle": re.compile(r"(?<![\w@])@\w{3,}"),
}

Key = tuple[str, int]


@dataclass(frozen=True)
class Question:
    """A question that waits for a decision.

    Attributes:
        user_id: The reader's pseudonym.
        turn: Number as events carry it.
        text: The question.
        flags: What the patterns found in question and answers.
    """

    user_id: str
    turn: int
    text: str
    flags: tuple[str, ...]


def personal_data(text: str) -> tuple[str, ...]:
    """Return the kinds of personal data that patterns find in a text.

    >>> personal_data("Write to ann@example.org or +44 20 7946 0958, before 2026.")
    ('e-mail', 'phone or number')
    """
    return tuple(kind for kind, pattern in _PATTERNS.items() if pattern.search(text))


def question_of(user_id: str, turn: Record) -> Question:
    """Return a turn's question with what was found in it and in its answers."""
    texts = [turn["question"], *(answer["source"] for answer in turn["responses"])]
    found = personal_data(texts[0])
    found += tuple(f"{kind} in an answer" for kind in personal_data("\n".join(texts[1:])))
    return Question(user_id, turn["turn"], turn["question"], found)


def read_decisions(folder: Path) -> dict[Key, str]:
    """Return the decisions that stand in `folder`.

    Raises:
        DataError: A line is none.
    """
    path = folder / REVIEWS
    if not path.exists():
        return {}
    decisions: dict[Key, str] = {}
    with open(path, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            turn, decision = row.get("turn") or "", row.get("decision")
            if not turn.isdecimal() or decision not in (PUBLISH, WITHHOLD):
                raise DataError(
                    f"{path}, line {number}: turn {turn!r} with decision {decision!r}; expected a "
                    f"number and '{PUBLISH}' or '{WITHHOLD}'. Correct the line."
                )
            decisions[row["user_id"], int(turn)] = decision
    return decisions


def decide(
    questions: Sequence[Question], *, ask: Callable[[str], str], say: Callable[[str], None]
) -> dict[Question, str]:
    """Show questions one by one and take the decisions of a person.

    Args:
        questions: Those that wait.
        ask: Shows a prompt and returns what was typed, like `input`; EOFError ends it.
        say: Shows a line.
    """
    decided: dict[Question, str] = {}
    answers = {"p": PUBLISH, "w": WITHHOLD}
    for number, question in enumerate(questions, 1):
        found = f"  [found: {', '.join(question.flags)}]" if question.flags else ""
        say(f"\n{number}/{len(questions)}{found}\n{question.text}")
        try:
            typed = ask("p publish, w withhold, Enter later: ").strip().lower()
        except EOFError:
            break
        if typed in answers:
            decided[question] = answers[typed]
    return decided


def write_decisions(folder: Path, decisions: Mapping[Question, str]) -> None:
    """Add decisions to those that stand in `folder`; a later one for a question wins."""
    path = folder / REVIEWS
    fresh = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if fresh:
            writer.writerow(_FIELDS)
        for question, decision in decisions.items():
            writer.writerow([question.user_id, question.turn, decision, "; ".join(question.flags)])
        file.flush()
        os.fsync(file.fileno())
