"""A human looks at every question before it may become public.

Patterns find e-mail addresses and numbers that may call somebody; names they do not find. So
nothing counts as harmless because nothing was found: a question is in a public export only after
somebody read it and said yes, or it is a question of the dataset, which is public already.
Decisions lie in `reviews.csv` beside the sessions, without the
question: `user_id,turn,decision,flags`.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ifllm_hf.data.sessions.session_file import Record
from ifllm_hf.data.tables.tasks import EMAIL_PATTERN
from ifllm_hf.errors import DataError
from ifllm_hf.files import whole_file
from ifllm_hf.remote_path import Place

REVIEWS = "reviews.csv"
PUBLISH, WITHHOLD = "publish", "withhold"
_FIELDS = ("user_id", "turn", "decision", "flags")

_CONTEXT = 40  # characters on either side of what was found
_EXCERPTS_MAX = 12
_DATASET_KEYS_END = 2**31  # the dataset's rows are numbered; keys of sessions are hashes of 52 bits

# Control characters, text that turns round, half of a surrogate pair.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

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
        excerpts: Each thing that they found, in the text around it.
    """

    user_id: str
    turn: int
    text: str
    flags: tuple[str, ...]
    excerpts: tuple[str, ...] = ()


def personal_data(text: str) -> tuple[str, ...]:
    """Return the kinds of personal data that patterns find in a text.

    >>> personal_data("Write to ann@example.org or +44 20 7946 0958, before 2026.")
    ('e-mail', 'phone or number')
    """
    return tuple(kind for kind, pattern in _PATTERNS.items() if pattern.search(text))


def excerpts(text: str, place: str) -> tuple[str, ...]:
    """Return what patterns find in a text, each in square brackets with the words around it.

    >>> excerpts("Write to ann@example.org today.", "the question")
    ('e-mail in the question: Write to [ann@example.org] today.',)
    """
    found = []
    for kind, pattern in _PATTERNS.items():
        for match in pattern.finditer(text):
            start, end = max(0, match.start() - _CONTEXT), match.end() + _CONTEXT
            before, after = text[start : match.start()], text[match.end() : end]
            shown = f"{'…' * (start > 0)}{before}[{match[0]}]{after}{'…' * (end < len(text))}"
            found.append(f"{kind} in {place}: {' '.join(shown.split())}")
    return tuple(found)


def is_public_already(turn: Record) -> bool:
    """Tell whether a turn shows a question of the public dataset and its own answers.

    Only the server writes where answers come from. An export of collected sessions can be shown
    too: its keys are far above those of the dataset, and its questions may be anybody's.
    """
    key = turn.get("query_id") or ""
    return turn.get("source") == "replay" and key.isdecimal() and int(key) < _DATASET_KEYS_END


def printable(text: str) -> str:
    """Return a text in which no character commands the terminal that shows it."""
    return _COMMANDS.sub(lambda command: f"\\x{ord(command[0]):02x}", text)


def question_of(user_id: str, turn: Record) -> Question:
    """Return a turn's question with what was found in it and in its answers."""
    texts = [turn["question"], *(answer["source"] for answer in turn["responses"])]
    found = personal_data(texts[0])
    found += tuple(f"{kind} in an answer" for kind in personal_data("\n".join(texts[1:])))
    places = ["the question", *(f"answer {box}" for box in "AB")]
    shown = (excerpts(text, place) for text, place in zip(texts, places, strict=False))
    return Question(user_id, turn["turn"], turn["question"], found, tuple(chain(*shown)))


def read_decisions(folder: Place) -> dict[Key, str]:
    """Return the decisions that stand in `folder`.

    Raises:
        DataError: A line is none.
    """
    path = folder / REVIEWS
    if not path.exists():
        return {}
    decisions: dict[Key, str] = {}
    lines = io.StringIO(path.read_bytes().decode("utf-8"), newline="")
    for number, row in enumerate(csv.DictReader(lines), 2):
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
        say(f"\n{number}/{len(questions)}\n{printable(question.text)}")
        for excerpt in question.excerpts[:_EXCERPTS_MAX]:
            say(f"  found: {printable(excerpt)}")
        if (more := len(question.excerpts) - _EXCERPTS_MAX) > 0:
            say(f"  found: {more} more")
        try:
            typed = ask("p publish, w withhold, Enter later: ").strip().lower()
        except EOFError:
            break
        if typed in answers:
            decided[question] = answers[typed]
    return decided


def forget_withdrawn(folder: Path, tombstones: Collection[str]) -> int:
    """Take the decisions on questions of withdrawn readers out of `folder`; return how many."""
    path = folder / REVIEWS
    if not path.exists():
        return 0
    gone = {tombstone[:16] for tombstone in tombstones}  # what a pseudonym ends with
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.reader(file))
    kept = [row for row in rows if not row or row[0].rpartition("_")[2] not in gone]
    if len(kept) < len(rows):
        with whole_file(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(kept)
    return len(rows) - len(kept)


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
