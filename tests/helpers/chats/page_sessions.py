"""Made-up sessions of a chat page, written as the server writes them, with known truth.

Answers are made of pieces of Markdown, each shown or not, so that the place of every shown
character is known without any renderer.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

ORIGIN_MS = 1_790_000_000_000.0
STEP_MS = 50.0
CHAT = "chat-1"


@dataclass(frozen=True)
class Pieces:
    """A text: pieces of Markdown, and whether a page shows each."""

    pieces: tuple[tuple[str, bool], ...]

    @property
    def markdown(self) -> str:
        return "".join(piece for piece, _ in self.pieces)

    def shown(self) -> list[tuple[str, int]]:
        """Return the shown characters that are not blank, with their code point in the Markdown."""
        found, at = [], 0
        for piece, visible in self.pieces:
            found += [(c, at + i) for i, c in enumerate(piece) if visible and not c.isspace()]
            at += len(piece)
        return found

    @property
    def page_text(self) -> str:
        return "".join(char for char, _ in self.shown())

    @property
    def page_units(self) -> int:
        return units(self.page_text)

    def facts(self) -> dict[str, Any]:
        """Return what a page tells of it."""
        digest = sha256(self.page_text.encode()).hexdigest()
        return {"sha256": digest, "units": self.page_units}

    def offset(self, k: int) -> int:
        """Return the page's offset of its k-th shown character."""
        return units(self.page_text[:k])


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def answer(rng: np.random.Generator, words: int = 30) -> Pieces:
    """Make up an answer with a heading, a list, bold words and code, and an emoji or two."""
    names = ["warm", "cold", "river", "stone", "😀", "map", "north", "walks", "tree", "é"]
    pieces: list[tuple[str, bool]] = [("## ", False), ("Notes", True), ("\n\n", False)]
    for i, name in enumerate(rng.choice(names, words).tolist()):
        if i % 10 == 0:
            pieces.append(("\n- ", False))
        mark = "**" if i % 7 == 3 else "`" if i % 7 == 5 else ""
        pieces += [(mark, False), (name, True), (mark, False), (" ", True)]
    pieces += [("\n\n", False), ("```\n", False), ("a  = 1\n", True), ("```", False)]
    return Pieces(tuple(piece for piece in pieces if piece[0]))


def plain(text: str) -> Pieces:
    """Return a text that a page shows as it is."""
    return Pieces(((text, True),))


@dataclass
class PageSessionWriter:
    """Writes one session; every method adds a line or an event."""

    path: Path
    session_id: str
    now_ms: float = 0.0
    tab: str = "tab00000"
    _seq: int = 0
    _events: list[Any] = field(default_factory=list)
    _numbers: int = 0

    def line(self, **record: Any) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

    def owner(
        self, message_id: str, parent: str | None, text: str, *, chat: str = CHAT, **more: Any
    ) -> None:
        """Write a message as the page's owner tells it: an answer unless a role is given."""
        told = {"role": "assistant", "model": "made-up", "at_epoch_ms": ORIGIN_MS + self.now_ms}
        ids = {"chat": chat, "id": message_id, "parent": parent, "content": text}
        self.line(**{"type": "message", "v": 3, **ids, **told, **more})

    def event(self, *values: Any) -> None:
        """Add an event at the present time."""
        kind, *rest = values
        self._events.append([kind, round(self.now_ms, 1), *rest])
        self.now_ms += STEP_MS

    def raw(self, event: Any) -> None:
        """Add whatever a broken or hostile page may send."""
        self._events.append(event)

    def send(self) -> None:
        if self._events:
            self.line(
                type="batch",
                v=3,
                tab=self.tab,
                seq=self._seq,
                origin_epoch_ms=ORIGIN_MS,
                sent_epoch_ms=ORIGIN_MS + self.now_ms,
                received_epoch_ms=ORIGIN_MS + self.now_ms,
                events=self._events,
            )
            self._seq += 1
            self._events = []

    def message(self, message_id: str, text: Pieces, *, chat: str = CHAT, **lies: Any) -> int:
        """Tell a text that is on the page; return its number."""
        number, self._numbers = self._numbers, self._numbers + 1
        self.event("m", number, {"chat": chat, "id": message_id, **text.facts(), **lies})
        return number

    def turn(
        self, question: str, *siblings: str, shown: str = "side_by_side", chat: str = CHAT
    ) -> None:
        ids = {"chat": chat, "question": question, "parent": None, "siblings": list(siblings)}
        self.event("u", {**ids, "shown": shown})

    def point(self, number: int | None, text: Pieces | None = None, k: int = 0) -> None:
        """Put the pointer on the k-th shown character of a text, or beside all of them."""
        place: list[Any] = [number, 10.0, 20.0, None, None, None, None]
        if text is not None:
            place[3:] = [5.0, 6.0, text.offset(k), 0.0]
        self.event("p", *place, 0, "mouse")

    def act(self, number: int, action: str, *ends: int) -> None:
        self.event("a", number, action, *(ends or (None, None)))


def begin_session(folder: Path, seed: int = 0, **first: Any) -> PageSessionWriter:
    """Write the first line of a session of version 3."""
    folder.mkdir(parents=True, exist_ok=True)
    name = np.random.default_rng(seed).bytes(16)
    session_id = "s_" + base64.urlsafe_b64encode(name).decode().rstrip("=")
    writer = PageSessionWriter(folder / f"{session_id}.jsonl", session_id)
    consent = {"version": "1", "text_sha256": "0" * 64, "adult": True, "at_epoch_ms": ORIGIN_MS}
    page = {"adapter": "made-up", "adapter_version": "1", "origin": "https://chat.example"}
    writer.line(
        **{
            "type": "session",
            "v": 3,
            "session_id": session_id,
            "created_epoch_ms": ORIGIN_MS + seed,
            "consent": consent,
            "demographics": None,
            "client": {},
            "versions": {"made_up": "1"},
            "page": page,
            **first,
        }
    )
    return writer


@dataclass(frozen=True)
class TrueChat:
    """A session with one question, and what is true of it.

    Attributes:
        writer: What wrote it.
        texts: The answers by the page's id.
        seen: Pointer events: id of the message (None: beside all), code point (None: none).
    """

    writer: PageSessionWriter
    texts: dict[str, Pieces]
    seen: list[tuple[str | None, int | None]]


def write_chat(
    folder: Path, seed: int = 0, *, answers: int = 2, steps: int = 20, liked: int | None = 0
) -> TrueChat:
    """Write a session in which so many answers stand side by side, are read, and one is liked."""
    rng = np.random.default_rng(seed)
    writer = begin_session(folder, seed)
    texts = {f"answer-{i}": answer(rng) for i in range(answers)}
    writer.owner("question", None, f"What is true of {seed}?", role="user", model=None)
    for message_id, text in texts.items():
        writer.owner(message_id, "question", text.markdown, model=f"made-up-{message_id[-1]}")
    writer.event("e", "start", {})
    numbers = {name: writer.message(name, text) for name, text in texts.items()}
    writer.turn("question", *texts, shown="side_by_side" if answers > 1 else "one_at_a_time")
    for name, text in texts.items():
        writer.event("w", numbers[name], text.offset(0), text.offset(4))
    seen: list[tuple[str | None, int | None]] = []
    for _ in range(steps):
        if rng.random() < 0.2:
            writer.point(None)
            seen.append((None, None))
            continue
        name = str(rng.choice(list(texts)))
        k = int(rng.integers(len(texts[name].page_text)))
        writer.point(numbers[name], texts[name], k)
        seen.append((name, texts[name].shown()[k][1]))
    if liked is not None:
        number = numbers[f"answer-{liked}"]
        writer.event("r", number, "enter", "like", "pointer")
        writer.act(number, "like")
        writer.event("r", number, "leave", "like", "pointer")
        writer.point(None)
        seen.append((None, None))
    writer.send()
    writer.line(type="end", at_epoch_ms=ORIGIN_MS + writer.now_ms)
    return TrueChat(writer, texts, seen)
