"""What a participant agrees to. Change a word and the version with it: both are stored."""

from __future__ import annotations

from html import escape

from ifllm_hf.capture.settings import Settings

VERSION = "2026-11-2"

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

Contact: {contact}. Legal basis: {legal_basis}.
"""

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


def consent_text(settings: Settings) -> str:
    """Return the text of this operator, as it is hashed into every session."""
    return _TEXT.format(contact=settings.contact, legal_basis=settings.legal_basis)


def consent_html(settings: Settings) -> str:
    """Return the text as paragraphs."""
    paragraphs = consent_text(settings).strip().split("\n\n")
    return "".join(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
