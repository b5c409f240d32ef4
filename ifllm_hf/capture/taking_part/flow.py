"""What the page may ask of the server, step by step. The session file is the only memory.

Every step but the first carries session and token. A refusal is an answer: `{"ok": false, "error":
one word, "reason": a sentence for the participant}`. Answers are stored before they are shown.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

from ifllm_hf.capture.server import Refusal, SessionStore
from ifllm_hf.capture.server.refusals import foreign_token, gone, malformed, off, session_missing
from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.completion import completion_code, completion_link
from ifllm_hf.capture.taking_part.consent import (
    BANDS,
    VERSION,
    agreed_text,
    consent_html,
    keep_text,
    told_bands,
)
from ifllm_hf.capture.taking_part.notice import Notices
from ifllm_hf.capture.taking_part.page_turn import is_of_page, turn_of_page
from ifllm_hf.capture.taking_part.quota import DailyQuota
from ifllm_hf.capture.taking_part.responder import Responder
from ifllm_hf.capture.taking_part.words import (
    NOT_DELETED,
    OTHERWISE,
    PIECES,
    Told,
    said_of,
    trouble_of,
)
from ifllm_hf.data.rendered.markdown_source import render_markdown
from ifllm_hf.data.sessions.past import failed, past_messages, past_turns
from ifllm_hf.data.sessions.review import personal_data
from ifllm_hf.data.sessions.session_file import Record, Session, read_session, tombstone
from ifllm_hf.errors import IFLLMError

logger = logging.getLogger(__name__)

QUESTION_CHARS_MAX = 1000
SUMMARY_CHARS_MAX = 2000
TURNS_MAX = 50
QUESTIONS = 5
MINUTES_PER_QUESTION = 2
"""What a participant is told before they begin. Nobody is kept from stopping, or from going on."""

Request = dict[str, Any]
Reply = dict[str, Any]


class Flow:
    """The steps of taking part."""

    def __init__(
        self,
        settings: Settings,
        store: SessionStore,
        responder: Responder | None,
        *,
        answers_of_page: bool = False,
    ) -> None:
        """Collect into `store`.

        Args:
            settings: Of the operator.
            store: Where sessions are kept.
            responder: Answers questions; without one nothing can be asked.
            answers_of_page: Whether a page may bring answers along. Where a responder answers,
                nobody else's are taken for its own.

        Raises:
            ConfigError: The operator's words for the consent are not of our form.
        """
        self._settings, self._store, self._responder = settings, store, responder
        self._answers_of_page = answers_of_page
        self._notices = Notices(settings)
        self._locks = Lock()
        self._asking: WeakValueDictionary[str, Lock] = WeakValueDictionary()
        self._quota = DailyQuota(store.folder / "quota.json", settings.answers_per_day)
        self._steps: dict[str, Callable[[Request], Reply]] = {
            "begin": self._begin,
            "notice": self._notice,
            "consent": self._consent,
            "resume": self._resume,
            "ask": self._ask,
            "turn": self._turn,
            "rate": self._rate,
            "calibration": self._calibration,
            "summary": self._summary,
            "end": self._end,
            "withdraw": self._withdraw,
        }

    def step(self, request: Any) -> Reply:
        """Answer one request of the page; never raises."""
        try:
            name = request.get("step") if isinstance(request, dict) else None
            step = self._steps.get(name) if isinstance(name, str) else None
            if step is None:
                raise malformed("Expected an object with a known step.")
            if not self._settings.collects and name not in ("begin", "notice", "withdraw"):
                raise off()
            return {"ok": True, **step(request)}
        except Refusal as refusal:
            if not isinstance(refusal, Told):
                logger.info("A step of taking part was refused: %s", refusal)
            return {"ok": False, "error": refusal.error, "reason": said_of(refusal)}
        except (IFLLMError, OSError) as error:
            logger.warning("A step of taking part failed: %s", error)
            return {"ok": False, "error": "failed", "reason": OTHERWISE}

    # --- the steps

    def _begin(self, request: Request) -> Reply:
        settings = self._settings
        if not settings.collects:
            return {"collects": False}
        return {
            "collects": True,
            "consent": {"version": VERSION, "html": consent_html(settings)},
            "bands": {name: {"label": said, "values": v} for name, (said, v) in BANDS.items()},
            "webcam": settings.webgazer is not None,
            "answers": self._offer(),
            "length": {"questions": QUESTIONS, "minutes": QUESTIONS * MINUTES_PER_QUESTION},
            "refused": PIECES,
            "limits": {"question": QUESTION_CHARS_MAX, "summary": SUMMARY_CHARS_MAX},
        }

    def _notice(self, request: Request) -> Reply:
        """Say what a page that is not ours asks; nothing is stored."""
        if not self._settings.collects:
            return {"collects": False}
        n = self._notices.choose(request.get("languages"))
        return {"collects": True, "language": n.language, "version": n.version, "words": n.words}

    def _consent(self, request: Request) -> Reply:
        agreed = agreed_text(request, self._settings, self._notices)
        bands = told_bands(request)
        keep_text(self._store.folder, agreed.text)
        client, page = request.get("client"), request.get("page")
        opened = self._store.open_session(
            consent_version=agreed.version,
            consent_text=agreed.text,
            language=agreed.language,
            demographics=bands or None,
            client=client if isinstance(client, dict) else {},
            page=page if isinstance(page, dict) else None,
        )
        return {
            "session": opened.session_id,
            "token": opened.token,
            "code": opened.withdrawal_code,
        }

    def _resume(self, request: Request) -> Reply:
        session = self._session(request)
        open_turn = _open_turn(session)
        last = session.turns[max(session.turns)] if session.turns else None
        return {
            "turns": len(session.ratings),
            "shown": _shown(open_turn, session) if open_turn else None,
            "past": self._past_shown(session, last) if last else [],
            "ended": bool(session.end),
            "completion": self._completion(session) if session.end else None,
        }

    def _ask(self, request: Request) -> Reply:
        # Who asks twice, because the first reply was lost, waits for it and gets the same answers.
        with self._lock_of(request):
            return self._ask_alone(request)

    def _turn(self, request: Request) -> Reply:
        """Keep a turn whose answers the page has itself; return them as it should show them."""
        if not self._answers_of_page:
            raise malformed("Expected the step `ask`: the answers here are the server's.")
        with self._lock_of(request):
            session = self._session(request)
            number = max(session.turns, default=-1) + 1
            turn = turn_of_page(request, number, self._store.now_ms())
            self._store.append(session.session_id, turn)
        return {"shown": _shown(turn, session)}

    def _ask_alone(self, request: Request) -> Reply:
        session = self._session(request)
        kind, question = request.get("kind"), request.get("question")
        if kind not in ("pairwise", "pointwise") or not isinstance(question, str):
            raise malformed("Expected a question and how many answers.")
        question = question.strip()
        responder = self._responder
        if responder is None:
            raise off()
        if not 0 < len(question) <= QUESTION_CHARS_MAX:
            raise _told(f"Please write a question of up to {QUESTION_CHARS_MAX} characters.")
        # A second tab rates what waits first: a turn that is rated later would enter the past of
        # one whose models did not know it.
        if waiting := _open_turn(session):
            return {"shown": _shown(waiting, session)}
        number = max(session.turns, default=-1) + 1
        if number >= TURNS_MAX:
            raise _told(f"These were {TURNS_MAX} questions, which is the most. Please finish.")
        sides = 2 if kind == "pairwise" else 1
        if responder.costs and not self._quota.take(sides):
            raise Refusal("quota", 429, "The daily quota of answers is used up.")
        asked_ms = self._store.now_ms()
        swapped = sides == 2 and _swapped(session, keep=responder.free_questions)
        past = past_turns(session, kind=kind, source=responder.name, before=number)
        histories = [past_messages(past, side ^ swapped) for side in range(sides)]
        answers = responder.answer(question, histories)
        made = list(answers.made)
        if swapped:
            made.reverse()
        turn = {
            "type": "turn",
            "turn": number,
            "kind": kind,
            "question": question,
            "responses": [a.record(box) for box, a in zip("AB", made, strict=False)],
            "side_swapped": swapped,
            "asked_epoch_ms": asked_ms,
            "shown_epoch_ms": self._store.now_ms(),
            "source": responder.name,
            "domain": answers.domain,
            "bullet_suffix": answers.bullet_suffix,
            "query_id": answers.query_id,
            "needs_review": list(personal_data(question)),
        }
        self._store.append(session.session_id, turn)
        if trouble := trouble_of(made):
            return {"shown": None, "trouble": trouble}
        return {"shown": _shown(turn, session)}

    def _rate(self, request: Request) -> Reply:
        session = self._session(request)
        number = request.get("turn")
        if not isinstance(number, int) or (turn := session.turns.get(number)) is None:
            raise malformed("Expected the rating of a turn that was shown.")
        if number in session.ratings:  # a browser that asked twice
            return self._rated(session, turn)
        pair = turn["kind"] == "pairwise"
        rating: Record = {
            "type": "rating",
            "turn": number,
            "likert": {box: request.get(f"likert_{box.lower()}") for box in "AB"[: 1 + pair]},
            "preference": request.get("preference") if pair else None,
            "better_than_previous": None if pair else request.get("better_than_previous"),
            "at_epoch_ms": self._store.now_ms(),
        }
        asked = [*rating["likert"].values(), *([rating["preference"]] if pair else [])]
        some = any(value is not None for value in asked)
        if not some or (None in asked and not is_of_page(turn)):
            raise _told("Please answer every question of the rating.")
        self._store.append(session.session_id, rating)
        session.ratings[number] = rating
        return self._rated(session, turn)

    def _calibration(self, request: Request) -> Reply:
        session = self._session(request)
        record = request.get("record")
        if not isinstance(record, dict):
            raise malformed("Expected a calibration record.")
        at_ms = self._store.now_ms()
        self._store.append(
            session.session_id, {**record, "type": "calibration", "at_epoch_ms": at_ms}
        )
        return {}

    def _summary(self, request: Request) -> Reply:
        session = self._session(request)
        text = request.get("text")
        if not isinstance(text, str) or len(text) > SUMMARY_CHARS_MAX:
            raise malformed(f"Expected a summary of up to {SUMMARY_CHARS_MAX} characters.")
        record = {"type": "summary", "text": text.strip(), "at_epoch_ms": self._store.now_ms()}
        for name in ("understand_before", "understand_after"):
            record[name] = request.get(name)
        self._store.append(session.session_id, record)
        return {}

    def _end(self, request: Request) -> Reply:
        session = self._session(request)
        if session.end is None:
            record = {"type": "end", "at_epoch_ms": self._store.now_ms(), "reason": "finished"}
            self._store.append(session.session_id, record)
        return {"completion": self._completion(session)}

    def _withdraw(self, request: Request) -> Reply:
        code = request.get("code")
        if not isinstance(code, str):
            raise malformed("Expected a code.")
        try:
            return {"complete": self._store.withdraw(code).complete}
        except (Refusal, OSError) as error:
            if isinstance(error, Refusal) and error.error in ("code", "rate", "off"):
                raise
            logger.warning("A session could not be withdrawn: %s", error)
            whom = self._settings.contact or "whoever runs this page"
            raise Told("failed", 503, NOT_DELETED.format(whom)) from error

    # --- what they need

    def _lock_of(self, request: Request) -> Lock:
        """Return what lets one request of a session add a turn at a time."""
        with self._locks:
            return self._asking.setdefault(str(request.get("session")), Lock())

    def _completion(self, session: Session) -> str | None:
        """Return where a panel takes this participant back."""
        if not (url := self._settings.completion_url):
            return None
        code = completion_code(tombstone(session.session_id), self._store.secret)
        return completion_link(url, code)

    def _offer(self) -> Reply | None:
        if self._responder is None:
            return None
        return {
            "said": self._responder.said,
            "free": self._responder.free_questions,
            "questions": {k: self._responder.questions(k) for k in ("pairwise", "pointwise")},
        }

    def _rated(self, session: Session, turn: Record) -> Reply:
        past = self._past_shown(session, turn)
        return {"turns": len(session.ratings), "past": past}

    def _past_shown(self, session: Session, turn: Record) -> list[Reply]:
        """Return what the models will see of this session when they are asked again."""
        source = self._responder.name if self._responder else turn.get("source")
        after = max(session.turns) + 1
        return _past_shown(past_turns(session, kind=turn["kind"], source=source, before=after))

    def _session(self, request: Request) -> Session:
        session_id, token = request.get("session"), request.get("token")
        known = isinstance(session_id, str) and isinstance(token, str)
        if not (known and self._store.check_token(str(session_id), str(token))):
            raise foreign_token()
        path = self._store.path(str(session_id))
        with self._store.lock:
            if self._store.is_withdrawn(str(session_id)):
                raise gone()
            there = self._store.bring(str(session_id))
            if not there and self._store.hub:  # a server whose disk is new finds them on the Hub
                there = self._store.hub.restore(str(session_id))
        session = read_session(path, events=False) if there else None
        if session is None:
            raise session_missing()
        return session


def _swapped(session: Session, *, keep: bool) -> bool:
    """Draw which answer stands left: for each turn, or once where models keep their side."""
    pairs = [turn for turn in session.turns.values() if turn["kind"] == "pairwise"]
    return bool(pairs[0]["side_swapped"] if pairs and keep else secrets.randbits(1))


def _open_turn(session: Session) -> Record | None:
    """Return the turn that waits for its rating; None where there is nothing to read."""
    last = max(session.turns, default=None)
    if last is None or last in session.ratings or failed(session.turns[last]):
        return None
    return session.turns[last]


def _told(reason: str) -> Told:
    return Told("malformed", 400, reason)


def _shown(turn: Record, session: Session) -> Reply:
    kind = turn["kind"]
    past = past_turns(session, kind=kind, source=turn.get("source"), before=turn["turn"])
    return {
        "turn": turn["turn"],
        "kind": kind,
        "question": turn["question"],
        "past": _past_shown(past),
        "boxes": _boxes(turn),
    }


def _past_shown(past: list[Record]) -> list[Reply]:
    return [{"question": turn["question"], "boxes": _boxes(turn)} for turn in past]


def _boxes(turn: Record) -> list[Reply]:
    return [{"box": a["box"], "html": render_markdown(a["source"])} for a in turn["responses"]]
