"""Settings of an operator who collects, what a store of sessions gets, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.settings import Settings

CONSENT = {"consent_version": "1", "consent_text": "I agree."}


def make_settings(folder: Path, **changes: Any) -> Settings:
    """Settings of an operator who collects, without limits."""
    fast = {"uploads_per_minute": 10**9, "sessions_per_minute": 10**9}
    people = {"contact": "lab@example.org", "legal_basis": "a test"}
    return Settings(**{"sessions": folder, **fast, **people, **changes})


def make_batch(tab: str = "tabtabtab", seq: int = 0, events: Any = None) -> dict[str, Any]:
    """A batch line."""
    return {
        "type": "batch",
        "tab": tab,
        "seq": seq,
        "origin_epoch_ms": 1.7e12,
        "sent_epoch_ms": 1.7e12,
        "received_epoch_ms": 1.7e12,
        "events": events or [["f", 1.5, 1]],
    }


def lines_of(store: SessionStore, session_id: str) -> list[dict[str, Any]]:
    """Read a session file strictly."""
    data = (store.folder / f"{session_id}.jsonl").read_bytes()
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]
