"""What a participant agrees to. Change a word and the version with it: both are stored."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from ifllm_hf.capture.server.durable import write_durably
from ifllm_hf.capture.server.refusals import malformed
from ifllm_hf.capture.settings import Settings
from ifllm_hf.capture.taking_part.notice import Notices
from ifllm_hf.files import digest

VERSION = "2026-11-3"
TEXTS = "consents"
"""Folder beside the sessions: every text that somebody agreed to, by its sha256."""

_TEXT = """\
You read answers of language models and say which you like better. While you read, this page
records how you read. Taking part is voluntary, and you may stop at any moment.

What is recorded: where your pointer or finger is, and which character of an answer is under it;
what you scroll to and select; the layout of the page and whether it is in front; your questions,
your ratings, and the times of all this. If you allow the webcam: the point on the screen that your
browser computes from it, some times a second, and how exact it is.

What is never recorded: video or pictures, your name, your network address, other pages. The
webcam's picture does not leave your browser.

Your questions are stored as you type them. Please do not write names, addresses or anything about
your health. A person reads each question before it is published anywhere.

You get a code as soon as you agree, and this browser keeps it too. With it you can delete
everything of yours at any time, without a reason; nobody else can find your session. Recordings
without names may be published for research and used to train models.

{kept}

Contact: {contact}. Legal basis: {legal_basis}.
"""

_KEPT = "No day is set until which your recording is kept; your code deletes it at any time."
_KEPT_DAYS = "{keep_days} days after the last thing that was recorded of you, all of it is deleted."

BANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "age": ("Age", ("18-24", "25-34", "35-44", "45-54", "55-64", "65 or older")),
    "gender": ("Gender", ("woman", "man", "other")),
    "education": (
        "Education",
        ("below Bachelor", "Bachelor", "Master or higher"),
    ),
    "english": ("English", ("first language", "fluent", "basic")),
    "llm_use": ("How often you use chat assistants", ("daily", "weekly", "rarely", "never")),
    "vision": ("Eyesight while reading", ("no aid", "glasses", "contact lenses")),
    "device": ("What you point with", ("mouse", "touchpad", "touch screen", "other")),
}
"""Name: what is asked, and the bands to choose from; every one may be left out."""


@dataclass(frozen=True)
class Agreed:
    """What somebody agreed to; `language`: of a notice on a page that is not ours."""

    version: str
    text: str
    language: str | None


def consent_text(settings: Settings) -> str:
    """Return the text of this operator, as it is hashed into every session."""
    days = settings.keep_days
    kept = _KEPT if days is None else _KEPT_DAYS.format(keep_days=days)
    return _TEXT.format(contact=settings.contact, legal_basis=settings.legal_basis, kept=kept)


def consent_html(settings: Settings) -> str:
    """Return the text as paragraphs."""
    paragraphs = consent_text(settings).strip().split("\n\n")
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)


def agreed_text(request: dict[str, Any], settings: Settings, notices: Notices) -> Agreed:
    """Return what a reader agreed to, as the server knows it.

    Raises:
        Refusal: They say not that they are an adult, or were shown another text.
    """
    if request.get("language") is None:
        agreed = Agreed(VERSION, consent_text(settings), None)
    else:
        notice = notices.choose([request["language"]])
        agreed = Agreed(notice.version, notice.text, notice.language)
    if request.get("version") != agreed.version or request.get("adult") is not True:
        raise malformed("Expected the consent of an adult to the text that is shown now; reload.")
    return agreed


def keep_text(sessions: Path, text: str) -> None:
    """Keep a text that somebody agrees to beside the sessions, named by its hash.

    Raises:
        OSError: There is no space for it; nobody has agreed then.
    """
    path = sessions / TEXTS / f"{digest(text)}.txt"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_durably(path, text.encode())


def told_bands(request: dict[str, Any]) -> dict[str, str | None]:
    """Return what somebody told of themselves.

    Raises:
        Refusal: It is of no band that was offered.
    """
    told = request.get("demographics") or {}
    bands: dict[str, str | None] = {}
    for name, value in told.items() if isinstance(told, dict) else ():
        if name not in BANDS or value not in BANDS[name][1]:
            raise malformed("Expected demographics from the bands that were offered.")
        bands[name] = value
    return bands
