"""What the page loads of a session told: texts by number, turns, runs, and which events fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.event_schema import PAGES, fits
from ifllm_hf.data.sessions.events.page_loads import LEDGERS, count_refused, page_loads
from ifllm_hf.data.sessions.session_file import Session

ACTIONS_LEDGER = "actions"
NUMBER_TWICE = "number of a message told twice"

_LEDGER = {"p": "pointer", "g": "gaze", "s": "view", "w": "view", "a": ACTIONS_LEDGER}
# Kinds that are no tick; what they tell is used.
_CONTEXT = {"v": "visibility", "r": "control", "e": "app", "f": "focus", "l": "layout"}
_CONTEXT |= {"c": "selection", "m": "message", "u": "turn", "o": "runs"}
_RANGES = {"w": 3, "a": 4}  # where the offsets of a stretch stand

Event = list[Any]


@dataclass(frozen=True)
class ToldText:
    """A text that was on the page, as a browser tells it.

    Attributes:
        chat: Of its message.
        message_id: As the page calls it.
        sha256: Of what is not blank.
        units: UTF-16 units that are not blank.
    """

    chat: str
    message_id: str
    sha256: str
    units: int


@dataclass(frozen=True)
class ToldTurn:
    """A question with its answers, as the page showed them from some moment on.

    Attributes:
        chat: Of the question.
        question: Id of its message.
        siblings: Ids of the answers, from the left.
        side_by_side: Else one at a time.
    """

    chat: str
    question: str
    siblings: tuple[str, ...]
    side_by_side: bool


@dataclass
class PageLoad:
    """What one load of a page told.

    Attributes:
        origin_ms: The epoch at its time 0.
        events: Those that fit, by time.
        texts: By number.
        runs: By number: sha256 of the Markdown, and the runs.
    """

    origin_ms: float
    events: list[Event] = field(default_factory=list)
    texts: dict[int, ToldText] = field(default_factory=dict)
    runs: dict[int, tuple[str, list[list[int]]]] = field(default_factory=dict)

    def turns(self) -> Iterator[ToldTurn]:
        """Yield the turns that it told, by time."""
        for event in self.events:
            if event[0] == "u":
                yield _turn(event[2])


def read_loads(session: Session, ledgers: Mapping[str, Ledger]) -> list[PageLoad]:
    """Return the page loads of a session of version 3, in the order of their origins.

    Args:
        session: Read with its events.
        ledgers: By name: those of `page_loads.LEDGERS`, and `ACTIONS_LEDGER`. What does not fit,
            and what is no tick and no action, is counted there; ticks and actions are not yet.
    """
    count_refused(session, ledgers)
    loads = []
    for origin_ms, events in page_loads(session):
        load = PageLoad(origin_ms)
        good = []
        all_fit = fits(events, "events", version=PAGES)
        for event in events:
            if (all_fit or fits(event, "event", version=PAGES)) and _in_order(event):
                good.append(event)
            else:
                ledgers[_ledger_of(event)].drop("malformed")
        for event in sorted(good, key=_time):
            if _take(load, event):
                load.events.append(event)
                if (kind := event[0]) in _CONTEXT:
                    ledgers["other"].drop(f"no tick: {_CONTEXT[kind]}")
            else:
                ledgers["other"].drop(NUMBER_TWICE)
        loads.append(load)
    return loads


def page_ledgers() -> dict[str, Ledger]:
    """Return the empty ledgers of a session's events."""
    return {name: Ledger(name) for name in (*LEDGERS, ACTIONS_LEDGER)}


def _take(load: PageLoad, event: Event) -> bool:
    """Note what an event tells of texts; a number keeps the text that it stood for first."""
    if event[0] == "m":
        facts = event[3]
        text = ToldText(facts["chat"], facts["id"], facts["sha256"], facts["units"])
        return load.texts.setdefault(event[2], text) == text
    if event[0] == "o":
        told = (event[3]["source_sha256"], event[3]["runs"])
        return load.runs.setdefault(event[2], told) == told
    return True


def _turn(facts: Mapping[str, Any]) -> ToldTurn:
    siblings = tuple(dict.fromkeys(facts["siblings"]))
    side_by_side = facts["shown"] == "side_by_side"
    return ToldTurn(facts["chat"], facts["question"], siblings, side_by_side)


def _in_order(event: Event) -> bool:
    """Tell whether a stretch has both ends in order, or neither."""
    at = _RANGES.get(event[0])
    if at is None:
        return True
    first, last = event[at], event[at + 1]
    return (first is None) == (last is None) and (first is None or first <= last)


def _ledger_of(event: Any) -> str:
    kind = event[0] if isinstance(event, list) and event else None
    return _LEDGER.get(kind, "other") if isinstance(kind, str) else "other"


def _time(event: Event) -> float:
    return float(event[1])
