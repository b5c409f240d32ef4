from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.server.identity import new_identity, session_id_of
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from tests.helpers.capture.session_store import CONSENT


def test_code_leads_to_its_session_and_nothing_leads_back() -> None:
    session_id, code = new_identity()
    assert session_id_of(code) == session_id_of(code.lower().replace("-", " ")) == session_id
    assert re.fullmatch(r"([A-Z2-7]{4}-){6}[A-Z2-7]{2}", code)
    assert new_identity() != (session_id, code)
    for wrong in ("", code[:-1], code + "A", "1" * 26, "ｓ" * 26, session_id):
        assert session_id_of(wrong) != session_id
    assert len(tombstone_of(session_id)) == 64


def test_tokens_belong_to_one_session_and_one_secret(
    make_store: Callable[..., SessionStore],
) -> None:
    store = make_store()
    a, b = (store.open_session(**CONSENT) for _ in range(2))
    assert store.check_token(a.session_id, a.token)
    assert not store.check_token(b.session_id, a.token)
    assert make_store().check_token(a.session_id, a.token), "a restart forgets nobody"
    assert not make_store(secret="x" * 32).check_token(a.session_id, a.token)
    assert "token" not in repr(a) and a.withdrawal_code not in repr(a)


def test_secret_is_for_its_owner_alone(store: SessionStore) -> None:
    path = Path(store.folder) / ".secret"
    assert path.stat().st_mode & 0o077 == 0 and len(path.read_text()) == 64
