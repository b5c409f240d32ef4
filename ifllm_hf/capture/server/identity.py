"""Codes, session ids and tokens: who may write into a session, and who may delete it.

A participant holds a withdrawal code of 128 bits. The session id is a one-way hash of it, so
nothing on disk or on the Hub leads back to the code, and no list of codes has to be kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ifllm_hf.capture.server.durable import write_durably

SESSION_ID = re.compile(r"s_[A-Za-z0-9_-]{22}", re.ASCII)
_CODE_BYTES = 16
_SECRET_CHARS = 64
_GROUP = 4  # characters between two hyphens of a code


@dataclass(frozen=True)
class OpenedSession:
    """What a participant's browser gets once, and the server keeps nothing of but the id."""

    session_id: str
    token: str = field(repr=False)
    withdrawal_code: str = field(repr=False)


def new_identity() -> tuple[str, str]:
    """Return a new session id, and the code to withdraw it: 26 letters and digits in groups."""
    code = secrets.token_bytes(_CODE_BYTES)
    text = base64.b32encode(code).decode().rstrip("=")
    return _derive(code), "-".join(text[i : i + _GROUP] for i in range(0, len(text), _GROUP))


def session_id_of(withdrawal_code: str) -> str | None:
    """Return the session that a code belongs to; None for what can be no code."""
    text = re.sub(r"[\s-]", "", withdrawal_code).upper()
    if not re.fullmatch(r"[A-Z2-7]{26}", text, re.ASCII):
        return None
    return _derive(base64.b32decode(text + "=" * (-len(text) % 8)))


def _derive(code: bytes) -> str:
    digest = hashlib.sha256(b"ifllm session " + code).digest()[:_CODE_BYTES]
    return "s_" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def token_of(session_id: str, secret: str) -> str:
    """Return the token that lets a browser write into a session: HMAC-SHA256, 64 hex digits."""
    return hmac.new(secret.encode(), session_id.encode(), hashlib.sha256).hexdigest()


def token_is_of(token: str, session_id: str, secret: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(token.encode(), token_of(session_id, secret).encode())


def secret_beside(sessions: Path) -> str:
    """Return the secret kept in `sessions`, made at the first start, for its owner's eyes alone."""
    path = sessions / ".secret"
    kept = path.read_text().strip() if path.exists() else ""
    if len(kept) < _SECRET_CHARS:  # a disk that was full left none: nothing was signed with it
        kept = secrets.token_hex(_SECRET_CHARS // 2)
        write_durably(path, kept.encode(), mode=0o600)
    return kept
