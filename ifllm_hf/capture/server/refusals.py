"""Every reason for which the server does not do what it was asked.

A browser gets the code alone, and the page has words for it; the sentence is for the operator.
"""

from __future__ import annotations

from ifllm_hf.errors import IFLLMError


class Refusal(IFLLMError):  # noqa: N818 - it is an answer
    """The request is refused and nothing of it is stored.

    Attributes:
        error: One word, the code: what a browser acts on, and all that it is told.
        status: Of the HTTP answer.
        retry: Whether the same request may succeed later; the browser keeps its batch then.
        retry_after_s: When to come back, if that is known.
    """

    def __init__(
        self,
        error: str,
        status: int,
        reason: str,
        *,
        retry: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        """See the class."""
        super().__init__(reason)
        self.error, self.status, self.retry = error, status, retry
        self.retry_after_s = retry_after_s


def off() -> Refusal:
    """Nobody can take part here."""
    return Refusal(
        "off", 403, "Collection is off. Expected an operator to set contact and legal basis."
    )


def malformed(reason: str) -> Refusal:
    """Not JSON, or not of the schema."""
    return Refusal("malformed", 400, reason)


def foreign_token() -> Refusal:
    """The session does not exist, or the token is of another one: which, is not told."""
    return Refusal(
        "token", 403, "The token is not of this session. Expected the one it began with."
    )


def cross_site(seen: str) -> Refusal:
    """Another site's page sent it."""
    return Refusal(
        "cross_site",
        403,
        f"The request comes from {seen}. Expected this page itself: let the proxy pass on Host, or "
        "X-Forwarded-Host. Browsers keep what was refused.",
    )


def gone() -> Refusal:
    """The participant withdrew."""
    return Refusal("gone", 410, "This session was withdrawn and deleted. Nothing more is taken.")


def too_large(size: int, most: int) -> Refusal:
    """A body above the limit."""
    return Refusal("size", 413, f"The body has {size} bytes or more. Expected at most {most}.")


def session_full(most: int) -> Refusal:
    """A session that outgrew its limit."""
    return Refusal("full", 413, f"This session holds {most} bytes and takes no more.")


def too_many(what: str, after_s: float) -> Refusal:
    """A rate limit."""
    return Refusal(
        "rate",
        429,
        f"Too many {what}. Expected fewer; come back in {after_s:.0f} s.",
        retry=True,
        retry_after_s=after_s,
    )


def unknown_code() -> Refusal:
    """No session belongs to a withdrawal code."""
    return Refusal(
        "code",
        404,
        "No session belongs to this code. Expected the 26 letters and digits shown at the end.",
    )


def session_missing() -> Refusal:
    """A token of ours without its session: the fault is here, so it may come back."""
    return Refusal(
        "missing",
        503,
        "The file of this session is not here. The browser keeps its data; it is taken later.",
        retry=True,
        retry_after_s=60,
    )


def disk_failed(reason: str) -> Refusal:
    """The line is not on disk."""
    return Refusal(
        "disk",
        503,
        f"The line could not be written: {reason}. Free some space; the browser tries again.",
        retry=True,
        retry_after_s=10,
    )
