"""The page of the demo: one file that loads nothing, with everything that came out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ifllm_hf.benchmark.report.answer import SUBSETS, answer_note, answer_rows
from ifllm_hf.benchmark.report.released import four_lines
from ifllm_hf.benchmark.report.report import shown_number
from ifllm_hf.demo.facts import DemoFacts, ScoredTurn
from ifllm_hf.demo.page_pictures import GROUND, answer_pictures, turn_pictures
from ifllm_hf.files import write_whole
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.version import __version__

_TEMPLATE = Path(__file__).with_name("demo_page.html")
_LONGEST_CHARS = 280


def write_page(facts: DemoFacts, path: Path) -> Path:
    """Write the page, whole or not at all.

    Args:
        facts: What it shows.
        path: The HTML file.

    Raises:
        OutputError: It cannot be written.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": shown_number, "cut": _cut, "words": _words}
    page = environment.from_string(_TEMPLATE.read_text(encoding="utf-8")).render(
        facts=facts,
        version=__version__,
        ground=GROUND,
        folder=os.fspath(facts.out),
        ledger=list(_ledger(facts.ledgers)),
        total=facts.ledgers["total"],
        subsets=_columns(facts),
        answer=[(row[0], [_split(cell) for cell in row[1:]]) for row in _rows(facts)],
        note=answer_note(facts.records, facts.repeats),
        released=four_lines(),
        answer_pictures=answer_pictures(facts.records),
        answer_alt=_answer_alt(facts),
        **_of_turn(facts.scored),
    )
    write_whole(path, page)
    return path


def _ledger(ledgers: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what was read, by name; pairs are made from turns, which are counted."""
    for name, ledger in ledgers["tables"].items():
        if name != "preferences":
            yield f"table {name}", ledger
    yield from ledgers["behavior"].items()


def _rows(facts: DemoFacts) -> list[list[str]]:
    return answer_rows(facts.records)


def _columns(facts: DemoFacts) -> list[str]:
    cells = _rows(facts)[0][1:]
    return [name for name in SUBSETS.values() if any(cell.startswith(name) for cell in cells)]


def _split(cell: str) -> tuple[str, str]:
    """Return number and interval of a cell, without the name of its subset."""
    for name in SUBSETS.values():
        cell = cell.removeprefix(f"{name} ")
    number, _, interval = cell.partition(" ")
    return number, interval


def _answer_alt(facts: DemoFacts) -> str:
    rows = (f"{row[0]}: {'; '.join(row[1:])}" for row in _rows(facts)[:-1])
    return "Accuracy with its interval over readers, chance dotted. " + ". ".join(rows) + "."


def _of_turn(scored: ScoredTurn | None) -> dict[str, Any]:
    if scored is None:
        return {"turn": None, "turn_pictures": None, "turn_alt": "", "widest": 1.0}
    turn = drawn_turn(scored.row)
    seconds = "; ".join(
        f"{answer.name}: " + ", ".join(turn.seconds_said(name, answer) for name in turn.on)
        for answer in turn.answers
    )
    return {
        "turn": turn,
        "turn_pictures": turn_pictures(scored.row),
        "turn_alt": f"Two answers with heat where gaze rested and lines where the mouse was; below "
        f"them the place of both over time. {turn.said}. {seconds}.",
        "widest": max(1e-9, *(abs(part) for part in scored.parts.values())),
    }


def _cut(text: str | None) -> str:
    """Return the beginning of a text on one line."""
    words = " ".join((text or "").split())
    return words if len(words) <= _LONGEST_CHARS else words[:_LONGEST_CHARS].rstrip() + " …"


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason.replace('_', ' ')} {n:,}" for reason, n in counts.items())
