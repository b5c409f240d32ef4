"""Events of a chat page as those of version 2, so that the same code makes ticks of both.

Two answers side by side are one turn, with the sides a and b. Any other text is a turn of its own,
whose only side is a: its ticks have no `query_id`, and `message_id` says whose characters those of
side a are. What the page told and is no tick stays behind; entering the control of an action, and
the action itself, end reading, as a rating does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.sessions.events.session_table import SessionTurn
from ifllm_hf.data.sessions.pages.shown_texts import NOT_TOLD, ShownText
from ifllm_hf.data.sessions.pages.stored_texts import StoredMessages
from ifllm_hf.data.sessions.pages.told import Event, PageLoad
from ifllm_hf.data.tables.chat_threads import question_key

NO_PLACE = "no place in the Markdown"
BEYOND = "offset beyond the page's text"
_BOXES = {1: "A", 2: "B"}
_ENDS_TURN = ("regenerate", "follow_up", "undo")

Row = Mapping[str, Any]


@dataclass
class PageTurns:
    """The turns of a session: pairs, and texts that stand alone.

    Attributes:
        turns: What ticks need of each, by its number.
        withheld: Numbers of those that are left out.
        places: Turn and side of each text, by its key.
        of_question: Number of the pair of each question, by `query_id`.
    """

    turns: dict[int, SessionTurn] = field(default_factory=dict)
    withheld: set[int] = field(default_factory=set)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    of_question: dict[int, int] = field(default_factory=dict)


def page_turns(
    rows: Iterable[Row], pairs: Mapping[int, tuple[Row, str, str]], kept: Collection[str]
) -> PageTurns:
    """Number the turns of a session.

    Args:
        rows: All of `messages`.
        pairs: Rows of `turns` with the keys of a and b, by `query_id`.
        kept: Keys of the messages that are in the export.
    """
    made = PageTurns()
    contents = {row["message_id"]: row for row in rows}
    for number, (query_id, (row, a, b)) in enumerate(pairs.items()):
        made.of_question[query_id] = number
        made.places |= {a: (number, 1), b: (number, 2)}
        made.turns[number] = SessionTurn(
            query_id=query_id,
            conversation_id=row["conversation_id"],
            answers={1: contents[a]["content"], 2: contents[b]["content"]},
            rated=False,
            message_ids={1: a, 2: b},
        )
    for key, row in contents.items():
        if key in made.places:
            continue
        number = len(made.turns) + len(made.withheld)
        made.places[key] = (number, 1)
        if key not in kept:
            made.withheld.add(number)
            continue
        made.turns[number] = SessionTurn(
            query_id=None,
            conversation_id=row["conversation_id"],
            answers={1: row["content"]},
            rated=False,
            message_ids={1: key},
        )
    return made


def as_version_2(
    load: PageLoad,
    texts: Mapping[int, ShownText],
    messages: StoredMessages,
    made: PageTurns,
    ledgers: Mapping[str, Ledger],
) -> list[Event]:
    """Return the events of a page load as those of version 2; the turns' numbers are `made`'s.

    Args:
        load: The page load.
        texts: Its texts by number.
        messages: As owners told them.
        made: The turns.
        ledgers: Count what could not be placed.
    """
    events: list[Event] = []
    page: int | None = None  # the turn that the page was last seen to be about
    for event in load.events:
        kind, t = event[0], event[1]
        if kind == "u":
            query_id = question_key(messages.key(event[2]["chat"], event[2]["question"]))
            page = made.of_question.get(query_id, page)
            continue
        if kind not in "pgswra":
            if kind == "v":
                events.append(event)
            continue
        number = event[2]
        shown = None if number is None else texts.get(number)
        place = made.places.get(shown.text.key) if shown else None
        if number is not None and place is None:
            if kind in "sw":
                ledgers["view"].drop(NOT_TOLD)
                continue
            if kind in "ra":
                continue
            ledgers["pointer" if kind == "p" else "gaze"].repair(NOT_TOLD)
        if place is not None:
            page = place[0]
        if kind in "pg":
            events.append(_point(event, page, place, shown, ledgers))
        elif kind == "s":
            target = "window" if place is None else _BOXES[place[1]]
            events.append(["e", t, "shown", {"turn": page}])  # a scroll says no turn
            events.append(["s", t, target, *event[3:]])
        elif kind == "w":
            assert shown is not None and place is not None
            seen = _visible(event, shown)
            if seen is None:
                ledgers["view"].drop(NO_PLACE)
            else:
                events.append(["w", t, page, _BOXES[place[1]], *seen])
        elif kind == "r":
            events.append(["r", t, page, event[3], "preference", None, event[5]])
        else:
            control = "submit" if event[3] in _ENDS_TURN else "preference"
            events.append(["r", t, page, "choose", control, None, "pointer"])
    return events


def _point(
    event: Event,
    page: int | None,
    place: tuple[int, int] | None,
    shown: ShownText | None,
    ledgers: Mapping[str, Ledger],
) -> Event:
    kind, t, _, x, y, rx, ry, offset, distance_px, *rest = event
    box, at = None, None
    if place is not None and shown is not None:
        box = _BOXES[place[1]]
        if offset is not None:
            ledger = ledgers["pointer" if kind == "p" else "gaze"]
            if isinstance(shown.alignment, str):
                ledger.repair(shown.alignment)
            elif offset >= len(shown.alignment.places):
                ledger.repair(BEYOND)
            elif (at := shown.alignment.place(offset)) is None:
                ledger.repair(NO_PLACE)
    return [kind, t, page, box, x, y, rx, ry, at, distance_px, *rest]


def _visible(event: Event, shown: ShownText) -> tuple[int | None, int | None] | None:
    """Return first and last unit of the Markdown that is on screen; None: nobody knows."""
    first, last = event[3:]
    if first is None:
        return None, None
    if isinstance(shown.alignment, str):
        return None
    return shown.alignment.stretch(first, last)
