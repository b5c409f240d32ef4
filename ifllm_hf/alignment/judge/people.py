"""People as judges, blind, in the terminal: they see two answers and not whose they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.rubric import HIGHEST, LOWEST
from ifllm_hf.alignment.judge.verdict import (
    BASELINE,
    CANDIDATE,
    FIRST,
    SECOND,
    TIE,
    Comparison,
    Judged,
    Verdict,
    winner_of,
)
from ifllm_hf.files import digest

_HELP = (
    f"1 or 2: that answer is better · t: tie · two numbers {LOWEST}-{HIGHEST}, such as '7 5': "
    "scores · s: skip · q: stop here (go on later with the same command)"
)


class PeopleJudge:
    """Shows every pair once; which side stands first is drawn by the seed."""

    pointwise = False  # answers are compared

    def __init__(
        self,
        settings: JudgeSettings,
        *,
        ask: Callable[[str], str] = input,
        show: Callable[[str], None],
    ) -> None:
        """Keep how to ask (`input`) and how to show text."""
        self.settings, self._ask, self._show = settings, ask, show

    @property
    def protocol(self) -> str:
        """How they judge."""
        return (
            f"{self.settings.model or 'people'} in the terminal, blind, each pair once, which "
            "answer stands first drawn at random"
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a verdict depends on beside question and answers: who judges."""
        return {"people": self.settings.model or "people"}

    def orders(self, comparison: Comparison) -> Sequence[str]:
        """Return one order, the same each time that the question is shown."""
        said = f"{self.settings.seed} {comparison.prompt_id} {comparison.candidate}"
        drawn = int(digest(said, 2), 16) % 2
        return ((BASELINE, CANDIDATE)[drawn],)

    def judge(
        self, asked: Sequence[tuple[Comparison, str]], *, worked_before: bool = False
    ) -> Iterator[Judged]:
        """Ask about one pair after the other, until they are done or somebody stops."""
        for number, (comparison, first) in enumerate(asked, start=1):
            one, two = comparison.in_order(first)
            self._show(
                f"\n{'=' * 78}\n{number} of {len(asked)}\n\nQUESTION\n{comparison.question}\n\n"
                f"--- ANSWER 1 ---\n{one}\n\n--- ANSWER 2 ---\n{two}\n\n{_HELP}"
            )
            said = self._said()
            if said == "q":
                return
            if said == "s":
                yield Judged(comparison, first, None, "skipped")
                continue
            winner, scores = read_choice(said) or (TIE, None)
            yield Judged(comparison, first, Verdict(comparison.prompt_id, first, winner, scores))

    def _said(self) -> str:
        while True:
            try:
                said = self._ask("> ").strip().lower()
            except EOFError:
                return "q"
            if said in ("q", "s") or read_choice(said) is not None:
                return said
            self._show(f"{said!r} is none of these. {_HELP}")


def read_choice(said: str) -> tuple[str, tuple[float, float] | None] | None:
    """Read what somebody typed: a winner, and scores if given; None if it is neither.

    >>> read_choice("7 5")
    ('first', (7.0, 5.0))
    >>> read_choice("t")
    ('tie', None)
    """
    if said in ("1", "2", "t"):
        return {"1": FIRST, "2": SECOND, "t": TIE}[said], None
    match = re.fullmatch(r"(\d+)[ ,]+(\d+)", said)
    if match is None:
        return None
    one, two = (float(number) for number in match.groups())
    if not all(LOWEST <= score <= HIGHEST for score in (one, two)):
        return None
    return winner_of(one, two), (one, two)
