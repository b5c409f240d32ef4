"""What the page may ask of the server, step by step. The session file is the only memory.

Every step but the first carries session and token. A refusal is an answer: `{"ok": false, "error":
one word, "reason": a sentence}`. Answers are stored before they are shown.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any

from ifllm_hf.data.sessions.review import personal_data
from ifllm_hf.data.sessions.session_file import Session, read_session
from ifllm_hf.errors import IFLLMError
from ifllm_space.collect.consent import BANDS, VERSION, consent_html, consent_text
from ifllm_space.collect.quota import DailyQuota
from ifllm_space.markdown_source import render_markdown
from ifllm_space.responders import Message, ModelAnswer, Responder
from ifllm_space.server import Refusal, SessionStore
from ifllm_space.server.refusals import malformed, off
from ifllm_space.settings import Settings

logger = logging.getLogger(__name__)

QUESTION_CHARS_MAX = 1000
SUMMARY_CHARS_MAX = 2000
TURNS_MAX = 50

Request = dict[str, Any]
Reply = dict[str, Any]

_KINDLY = {
    "timeout": "The model took too long to answer. Please ask again, or ask something else.",
    "busy": "The model is busy. Please wait a minute and ask again.",
    "unreachable": "The model cannot be reached. Please try again later.",
    "empty": "The model sent an empty answer. Please ask in other words.",
    "refused": "The model did not want to answer this. Please ask something else.",
    "failed": "There is no answer to this question. Please ask something else.",
}


class Flow:
    """The steps of taking part."""

    def __init__(
        self, settings: Settings, store: SessionStore, responder: Responder | None
    ) -> None:
        """Collect into `store`, with the answers of `responder`; without one, only withdraw."""
        self._settings, self._store, self._responder = settings, store, responder
        self._quota = DailyQuota(store.folder / "quota.json", settings.answers_per_day)
        self._steps: dict[str, Callable[[Request], Reply]] = {
            "begin": self._begin,
            "consent": self._consent,
            "resume": self._resume,
            "ask": self._ask,
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
            if not self._settings.collects and name not in ("begin", "withdraw"):
                raise off()
            return {"ok": True, **step(request)}
        except Refusal as refusal:
            return {"ok": False, "error": refusal.error, "reason": str(refusal)}
        except IFLLMError as error:
            logger.warning("A step of taking part failed: %s", error)
            return {
                "ok": False,
                "error": "failed",
                "reason": "This failed; please try again.",
            }

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
            "limits": {"question": QUESTION_CHARS_MAX, "summary": SUMMARY_CHARS_MAX},
        }

    def _consent(self, request: Request) -> Reply:
        if request.get("version") != VERSION or request.get("adult") is not True:
            raise malformed(
                "Expected the consent of an adult to the text that is shown now; reload."
            )
        told = request.get("demographics") or {}
        bands: dict[str, str | None] = {}
        for name, value in told.items() if isinstance(told, dict) else ():
            if name not in BANDS or value not in BANDS[name][1]:
                raise malformed("Expected demographics from the bands that were offered.")
            bands[name] = value
        client = request.get("client")
        opened = self._store.open_session(
            consent_version=VERSION,
            consent_text=consent_text(self._settings),
            demographics=bands or None,
            client=client if isinstance(client, dict) else {},
        )
        return {
            "session": opened.session_id,
            "token": opened.token,
            "code": opened.withdrawal_code,
        }

    def _resume(self, request: Request) -> Reply:
        session = self._session(request)
        last = max(session.turns, default=None)
        reply: Reply = {"turns": len(session.ratings), "shown": None, "ended": bool(session.end)}
        if last is not None and last not in session.ratings:
            turn = session.turns[last]
            if not any(
                answer.get("error") or answer.get("refused") for answer in turn["responses"]
            ):
                reply["shown"] = _shown(turn, session)
        return reply

    def _ask(self, request: Request) -> Reply:
        session = self._session(request)
        kind, question = request.get("kind"), request.get("question")
        if kind not in ("pairwise", "pointwise") or not isinstance(question, str):
            raise malformed("Expected a question and how many answers.")
        question = question.strip()
        responder = self._responder
        if responder is None:
            raise off()
        if not 0 < len(question) <= QUESTION_CHARS_MAX:
            raise malformed(f"Expected a question of 1 to {QUESTION_CHARS_MAX} characters.")
        number = max(session.turns, default=-1) + 1
        if number >= TURNS_MAX:
            raise malformed(f"A session has at most {TURNS_MAX} questions; please finish.")
        sides = 2 if kind == "pairwise" else 1
        if responder.costs and not self._quota.take(sides):
            raise Refusal(
                "quota", 429, "No more answers can be given today. Please finish, or come tomorrow."
            )
        asked_ms = self._store.now_ms()
        swapped = sides == 2 and _swapped(session, keep=responder.free_questions)
        histories = [_history(session, side, swapped) for side in range(sides)]
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
        if trouble := _trouble(made):
            return {"shown": None, "trouble": trouble}
        return {"shown": _shown(turn, session)}

    def _rate(self, request: Request) -> Reply:
        session = self._session(request)
        number = request.get("turn")
        turn = session.turns.get(number) if isinstance(number, int) else None
        if turn is None:
            raise malformed("Expected the rating of a turn that was shown.")
        if number in session.ratings:  # a browser that asked twice
            return {"turns": len(session.ratings)}
        pair = turn["kind"] == "pairwise"
        rating = {
            "type": "rating",
            "turn": number,
            "likert": {box: request.get(f"likert_{box.lower()}") for box in "AB"[: 1 + pair]},
            "preference": request.get("preference") if pair else None,
            "better_than_previous": None if pair else request.get("better_than_previous"),
            "at_epoch_ms": self._store.now_ms(),
        }
        asked = [*rating["likert"].values(), *([rating["preference"]] if pair else [])]
        if any(value is None for value in asked):
            raise malformed("Expected an answer to every question of the rating.")
        self._store.append(session.session_id, rating)
        return {"turns": len(session.ratings) + 1}

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
        return {}

    def _withdraw(self, request: Request) -> Reply:
        code = request.get("code")
        if not isinstance(code, str):
            raise malformed("Expected a code.")
        return {"complete": self._store.withdraw(code).complete}

    # --- what they need

    def _offer(self) -> Reply | None:
        if self._responder is None:
            return None
        return {
            "said": self._responder.said,
            "free": self._responder.free_questions,
            "questions": {k: self._responder.questions(k) for k in ("pairwise", "pointwise")},
        }

    def _session(self, request: Request) -> Session:
        session_id, token = request.get("session"), request.get("token")
        known = isinstance(session_id, str) and isinstance(token, str)
        if not (known and self._store.check_token(str(session_id), str(token))):
            raise Refusal("token", 403, "This is not your session. Please reload the page.")
        path = self._store.path(str(session_id))
        with self._store.lock:
            there = path.exists()
            if not there and self._store.hub:  # a server whose disk is new finds them on the Hub
                gone = self._store.is_withdrawn(str(session_id))
                there = not gone and self._store.hub.restore(str(session_id))
        session = read_session(path, events=False) if there else None
        if session is None:
            raise Refusal("gone", 410, "This session is no longer here. Please start anew.")
        return session


def _swapped(session: Session, *, keep: bool) -> bool:
    """Draw which answer stands left: for each turn, or once where models keep their side."""
    pairs = [turn for turn in session.turns.values() if turn["kind"] == "pairwise"]
    return bool(pairs[0]["side_swapped"] if pairs and keep else secrets.randbits(1))


def _history(session: Session, side: int, swapped: bool) -> list[Message]:
    """Return what was said with one model so far: the question and the answer on its side."""
    said: list[Message] = []
    for number in sorted(session.turns):
        turn = session.turns[number]
        box = side if len(turn["responses"]) == 1 else side ^ swapped
        if box < len(turn["responses"]) and turn["responses"][box]["source"]:
            said.append({"role": "user", "content": turn["question"]})
            said.append({"role": "assistant", "content": turn["responses"][box]["source"]})
    return said


def _trouble(made: list[ModelAnswer]) -> str | None:
    """Say kindly why there is nothing to read; None if there is."""
    for answer in made:
        if answer.failed:
            return _KINDLY.get(
                "refused" if answer.refused else str(answer.error), _KINDLY["failed"]
            )
    return None


def _shown(turn: dict[str, Any], session: Session) -> dict[str, Any]:
    earlier = [n for n in session.ratings if session.turns[n]["kind"] == turn["kind"]]
    return {
        "turn": turn["turn"],
        "kind": turn["kind"],
        "question": turn["question"],
        "first": not earlier,
        "boxes": [
            {"box": a["box"], "html": render_markdown(a["source"])} for a in turn["responses"]
        ],
    }
