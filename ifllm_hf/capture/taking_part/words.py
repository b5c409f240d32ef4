"""What a participant is told, in one place.

The server refuses in the operator's words, of disks, bodies and schemas. Here each of its reasons
becomes a sentence for somebody who reads answers and cannot look behind the page.
"""

from __future__ import annotations

from ifllm_hf.capture.server import Refusal
from ifllm_hf.capture.taking_part.responder import ModelAnswer


class Told(Refusal):
    """A refusal whose own words are meant for the participant."""


OTHERWISE = "This did not work. Nothing is lost; please try again in a minute."

_REFUSED = {
    "off": "Nobody can take part here at the moment.",
    "token": "This is not your session. Please reload the page.",
    "gone": "This session is no longer here. Please start anew.",
    "missing": "This session cannot be found just now. Nothing is lost; please try again later.",
    "full": "This session is as long as it can be. Please finish.",
    "quota": "No more answers can be given today. Please finish, or come tomorrow.",
    "rate": "Too much is asked for at the moment. Please wait a minute and try again.",
    "code": "No session has this code. It has 26 letters and digits; please look at it again.",
    "malformed": "The page sent something unexpected. Please reload it and try again.",
}

PIECES = {
    "malformed": "not in the expected form",
    "size": "too large",
    "http_413": "too large",
    "full": "more than one session may hold",
    "token": "not of this session",
    "cross_site": "sent by way of another address",
    "on_the_way": "not let through on its way",
    "gone": "of a session that was deleted",
}
"""Why pieces of a recording were refused, as the last page names it.

What somebody on the way answered (`http_502`, `redirect`) is `on_the_way`; a reason with a colon is
that of an event (`pointer: out of range`), which is `malformed`.
"""

NO_ANSWER = {
    "timeout": "The model took too long to answer. Please ask again, or ask something else.",
    "busy": "The model is busy. Please wait a minute and ask again.",
    "unreachable": "The model cannot be reached. Please try again later.",
    "empty": "The model sent an empty answer. Please ask in other words.",
    "refused": "The model did not want to answer this. Please ask something else.",
    "failed": "There is no answer to this question. Please ask something else.",
}
"""Why there is nothing to read."""

NOT_DELETED = "Your session could not be deleted just now. Please try again later, or write to {}."


def said_of(refusal: Refusal) -> str:
    """Return a refusal in the participant's words."""
    return str(refusal) if isinstance(refusal, Told) else _REFUSED.get(refusal.error, OTHERWISE)


def trouble_of(made: list[ModelAnswer]) -> str | None:
    """Say kindly why there is nothing to read; None if there is."""
    for answer in made:
        if answer.failed:
            reason = "refused" if answer.refused else str(answer.error)
            return NO_ANSWER.get(reason, NO_ANSWER["failed"])
    return None
