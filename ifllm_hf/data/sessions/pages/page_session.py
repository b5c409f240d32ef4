"""One session of a chat page as rows and ticks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.sessions.events.page_loads import known_to_fit, with_turns
from ifllm_hf.data.sessions.events.session_ticks import SessionTicks, ticks_of
from ifllm_hf.data.sessions.pages.page_rows import (
    Row,
    acted,
    message_rows,
    published,
    turn_rows,
)
from ifllm_hf.data.sessions.pages.page_ticks import as_version_2, page_turns
from ifllm_hf.data.sessions.pages.shown_texts import shown_texts
from ifllm_hf.data.sessions.pages.stored_texts import stored_messages
from ifllm_hf.data.sessions.pages.told import ACTIONS_LEDGER, page_ledgers, read_loads
from ifllm_hf.data.sessions.review import PUBLISH, Key
from ifllm_hf.data.sessions.session_file import Record, Session
from ifllm_hf.data.sessions.session_rows import UNREVIEWED, SessionRows
from ifllm_hf.data.tables.chat_threads import conversation_key, question_key
from ifllm_hf.data.tables.folds import fold_of_unknown

NOT_PUBLISHED = "its question, or one before it, is not published"


@dataclass
class PageSession:
    """What a session of a chat page adds to the tables.

    Attributes:
        rows: Its turns with two answers side by side, and the questions that nobody reviewed.
        messages: Rows of `schema.MESSAGES`.
        actions: Rows of `schema.ACTIONS`.
        ticks: Its ticks.
        home: The conversation of ticks that belong to no chat.
        ledgers: Of the tables `messages` and `actions`.
    """

    rows: SessionRows
    messages: list[Row]
    actions: list[Row]
    ticks: SessionTicks
    home: str
    ledgers: dict[str, Ledger] = field(default_factory=dict)

    def conversations(self, user_id: str) -> list[ConversationRows]:
        """Return its rows by conversation, in the order of its chats."""
        names = [row["conversation_id"] for row in self.messages]
        places = list(dict.fromkeys([self.home, *names]))
        nothing = self.ticks.tables[self.home].slice(0, 0)
        sources = self.ticks.reading_end_source

        def of(rows: Sequence[Row], name: str) -> list[Row]:
            return [row for row in rows if row["conversation_id"] == name]

        made = []
        for name in places:
            turns = of(list(self.rows.turns.values()), name)
            made.append(
                ConversationRows(
                    conversation_id=name,
                    user_id=user_id,
                    task_id=None,
                    kind="pairwise" if turns else "pointwise",
                    fold=fold_of_unknown(user_id),
                    ticks=self.ticks.tables.get(name, nothing),
                    reading_end_source={q: sources[q] for q in _keys(turns) if q in sources},
                    turns=turns,
                    messages=of(self.messages, name),
                    actions=of(self.actions, name),
                )
            )
        return made


def read_page_session(
    session: Session,
    user_id: str,
    decisions: Mapping[Key, str],
    *,
    public: bool,
) -> PageSession:
    """Make the rows and ticks of a session of version 3.

    Args:
        session: Read with its events.
        user_id: Its reader.
        decisions: Of the reviewers.
        public: Leave out every message that hangs on a question that nobody published.
    """
    ledgers = page_ledgers()
    tables = {name: Ledger(name) for name in ("messages", "actions")}
    loads = read_loads(session, ledgers)
    turns = [turn for load in loads for turn in load.turns()]
    stored = stored_messages(session.messages, user_id)
    shown = [(load, shown_texts(load, stored)) for load in loads]
    done = acted(shown, user_id, ledgers[ACTIONS_LEDGER])
    rows = message_rows(stored, turns, done, tables["messages"])
    decided = {row["message_id"]: decisions.get(review_key(row)) for row in _questions(rows)}
    kept = rows
    if public:
        kept = published(rows, {key for key, said in decided.items() if said == PUBLISH})
        _leave_out(tables["messages"], len(rows) - len(kept))
    keys = {row["message_id"] for row in kept}
    actions = [row for row in done.rows if row["message_id"] in keys]
    tables["actions"].keep(len(done.rows))
    _leave_out(tables["actions"], len(done.rows) - len(actions))
    made = SessionRows()
    pairs = turn_rows(kept, turns, stored, actions, made.ledger)
    made.turns = {query_id: row for query_id, (row, _, _) in pairs.items()}
    made.waiting = [
        _waiting(row, rows) for row in _questions(rows) if not decided[row["message_id"]]
    ]
    numbered = page_turns(rows, pairs, keys)
    found = []
    for load, texts in shown:
        events = known_to_fit(as_version_2(load, texts, stored, numbered, ledgers))
        of_load = with_turns(events, ledgers, numbered.withheld, UNREVIEWED)
        found.append((load.origin_ms, of_load))
    home = kept[0]["conversation_id"] if kept else conversation_key(user_id, "")
    ticks = ticks_of(found, numbered.turns, home, ledgers)
    for ledger in (made.ledger, *tables.values(), *ledgers.values()):
        ledger.check()
    return PageSession(made, kept, actions, ticks, home, tables)


def review_key(row: Mapping[str, Any]) -> Key:
    """Return the key of a decision: another text of the same message is another question."""
    return row["user_id"], question_key(f"{row['message_id']} {row['content']}")


def _keys(turns: Sequence[Row]) -> list[int]:
    return [row["query_id"] for row in turns]


def _questions(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["role"] == "user"]


def _waiting(row: Row, rows: Sequence[Row]) -> Record:
    answers = [r for r in rows if r["parent_id"] == row["message_id"] and r["role"] == "assistant"]
    responses = [{"source": answer["content"]} for answer in answers]
    return {"turn": review_key(row)[1], "question": row["content"], "responses": responses}


def _leave_out(ledger: Ledger, n: int) -> None:
    ledger.kept -= n
    if n:
        ledger.dropped[NOT_PUBLISHED] += n
