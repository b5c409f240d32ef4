"""Messages of a chat page's own export, for the sessions that read them.

    python -m ifllm_hf.capture.exported_messages sessions chats.json

For a page whose server does not tell its messages itself (`put_messages`): Open WebUI, with the
exports that `ifllm import` reads. An export holds everybody's chats, and a session says by itself
which it read. So a session gets a message alone where its browser told the hash of the very text,
and with it what was said before that message. The server must not run meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifllm_hf.capture.server.page_messages import PageMessage, put_messages
from ifllm_hf.capture.server.store import SessionStore
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.imports.open_webui_chat import chat_rows
from ifllm_hf.data.imports.open_webui_export import ExportedChat, OpenWebUIExport, read_exports
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.rendered.page_alignment import PageAlignment, align_page
from ifllm_hf.data.sessions.event_schema import PAGES
from ifllm_hf.data.sessions.pages.stored_texts import BEFORE_EDIT
from ifllm_hf.data.sessions.pages.told import page_ledgers, read_loads
from ifllm_hf.data.sessions.session_file import Session, read_session
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.data.tables.chat_threads import message_key
from ifllm_hf.errors import IFLLMError
from ifllm_hf.files import digest
from ifllm_hf.progress import progress_bar


@dataclass
class PutExport:
    """What became of an export.

    Attributes:
        messages: How many were stored.
        sessions: In how many sessions.
        told: Messages that sessions told of and did not hold before.
        found: Of them, those that the export has in the very text.
    """

    messages: int = 0
    sessions: int = 0
    told: int = 0
    found: int = 0


def put_export(store: SessionStore, files: Sequence[Path], *, progress: bool = True) -> PutExport:
    """Store the messages of exports of Open WebUI in the sessions that read them.

    Args:
        store: Started; it holds the sessions.
        files: The exports, of ratings or of chats.
        progress: Show a progress bar on stderr.

    Raises:
        SourceError: A file is no such export.
        Refusal: A session is full, or the disk failed.
    """
    export = read_exports(files)
    stored = StoredSessions(store.folder)
    done = PutExport()
    ids = [known for known in sorted(stored.sizes()) if not store.is_withdrawn(known)]
    for session_id in progress_bar(len(ids), "Sessions", progress, iterable=ids, delay=1):
        session = read_session(stored.place(session_id))
        if session is None or session.version != PAGES:
            continue
        messages, told, found = messages_for(session, export)
        done.told, done.found = done.told + told, done.found + found
        if messages:
            done.messages += put_messages(store, session_id, messages)
            done.sessions += 1
    return done


def messages_for(session: Session, export: OpenWebUIExport) -> tuple[list[PageMessage], int, int]:
    """Return the messages of an export that a session may hold and does not.

    Returns:
        Them, parents before children; how many messages that it does not hold its browser told of;
        how many of these are in the export in the very text.
    """
    texts_of_session = {(line["chat"], line["id"], line["content"]) for line in session.messages}
    known = {(chat, message_id) for chat, message_id, _ in texts_of_session}
    loads = read_loads(session, page_ledgers())
    told: dict[str, dict[str, set[tuple[str, int]]]] = {}
    for load in loads:
        for text in load.texts.values():
            of_chat = told.setdefault(text.chat, {})
            of_chat.setdefault(text.message_id, set()).add((text.sha256, text.units))
    aligned = {source for load in loads for source, _ in load.runs.values()}
    messages: list[PageMessage] = []
    asked = found = 0
    for chat_id, of_chat in told.items():
        asked += sum((chat_id, message_id) not in known for message_id in of_chat)
        if chat_id not in export.chats:
            continue
        texts = list(_texts(export.chats[chat_id]))
        proven = {
            text.id
            for text in texts
            if any(
                digest(text.content) in aligned or _fits(text.content, *facts)
                for facts in of_chat.get(text.id, ())
            )
        }
        found += sum((chat_id, message_id) not in known for message_id in proven)
        parents = {text.id: text.parent for text in texts}
        wanted: set[str | None] = set()
        for message_id in proven:
            at: str | None = message_id
            while at is not None and at not in wanted:
                wanted.add(at)
                at = parents.get(at)
        messages += [
            text
            for text in texts
            if text.id in wanted and (chat_id, text.id, text.content) not in texts_of_session
        ]
    return messages, asked, found


def _fits(content: str, sha256: str, length: int) -> bool:
    return isinstance(align_page(content, sha256, length), PageAlignment)


def _texts(chat: ExportedChat) -> Iterator[PageMessage]:
    """Yield the texts of a chat, parents before children, a former text before the later one."""
    keys = {message_key(chat.chat_id, i): i for i in chat.messages}
    former = {message_key(chat.chat_id, f"{i} {BEFORE_EDIT}"): i for i in chat.messages}
    for row in chat_rows(chat, "", Ledger("messages")).messages:
        key, parent, before = row["message_id"], row["parent_id"], row["replaces"]
        yield PageMessage(
            chat=chat.chat_id,
            id=keys.get(key) or former[key],
            parent=None if parent is None else keys[parent],
            replaces=keys.get(before),
            **{name: row[name] for name in ("role", "content", "model", "origin", "stopped")},
            created_epoch_ms=_ms(row["created_at"]),
        )


def _ms(instant: Any) -> float | None:
    return None if instant is None else instant.timestamp() * 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Store the messages of exports in a folder of sessions."""
    parser = argparse.ArgumentParser(
        prog="python -m ifllm_hf.capture.exported_messages",
        description="Store the messages of exports of Open WebUI in the sessions that read them.",
    )
    parser.add_argument("sessions", type=Path, help="folder of the session files")
    parser.add_argument("export", type=Path, nargs="+", help="ratings or chats, as JSON")
    arguments = parser.parse_args(argv)
    try:
        settings = Settings.from_environment()
        store = SessionStore(replace(settings, sessions=arguments.sessions, hub_dataset=""))
        store.start()
        try:
            done = put_export(store, arguments.export)
        finally:
            store.close()
    except IFLLMError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write(
        f"{done.messages} messages into {done.sessions} sessions; of {done.told} messages that "
        f"sessions told of and did not hold, {done.found} are in the export\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
