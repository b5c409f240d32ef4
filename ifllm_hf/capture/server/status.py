"""How the collection stands, in a few rows for its operator."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from html import escape

import orjson

from ifllm_hf.capture.server.store import SessionStore
from ifllm_hf.data.sessions.session_file import session_files
from ifllm_hf.errors import IFLLMError

GB = 1e9


def status(store: SessionStore) -> list[tuple[str, str]]:
    """Return what an operator wants to know first, as names and values; it reads the session files.

    Never raises: what cannot be found out is said in its place.
    """
    counts = store.watch.counts()
    left_out = f"; {_listed(counts.events_refused)}" if counts.events_refused else ""
    rows = [
        ("collection", "open" if store.settings.collects else "off: contact or legal basis unset"),
        ("counted since", _at(counts.since_epoch_s)),
        ("sessions today", _tried(lambda: f"{_today(store)} of {store.count()} kept here")),
        ("kept", _kept(store)),
        ("batches stored", f"{counts.batches:,} ({counts.batches_twice:,} more came twice)"),
        ("events left out", f"{counts.events_refused.total():,}{left_out}"),
        ("requests refused", f"{counts.refused.total():,}; {_listed(counts.refused)}"),
        ("troubles", _listed(counts.troubles)),
        ("last trouble", "none"),
        ("free disk", _tried(lambda: f"{shutil.disk_usage(store.folder).free / GB:,.1f} GB")),
        ("waiting reviews", _tried(lambda: _waiting(store))),
        ("last push", _pushed(store)),
    ]
    if counts.last_trouble:
        at_s, kind, said = counts.last_trouble
        rows[8] = ("last trouble", f"{_at(at_s)} {kind}: {said}")
    return rows


def status_table(store: SessionStore) -> str:
    """Return the same as an HTML table."""
    rows = "".join(
        f"<tr><th scope='row' style='text-align:left;padding-right:1em'>{escape(name)}</th>"
        f"<td>{escape(value)}</td></tr>"
        for name, value in status(store)
    )
    return f"<table>{rows}</table>"


def _today(store: SessionStore) -> int:
    midnight_s = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    today = 0
    for path in session_files(store.folder):
        try:
            if path.is_file() and path.stat().st_mtime >= midnight_s:
                with open(path, "rb") as file:
                    created_ms = orjson.loads(file.readline())["created_epoch_ms"]
                today += created_ms >= 1000 * midnight_s
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged: said at the start
    return today


def _kept(store: SessionStore) -> str:
    days, expired = store.settings.keep_days, store.watch.counts().expired
    kept = "until withdrawn" if days is None else f"{days} days after the last event"
    return f"{kept}; {expired:,} deleted because their time was over"


def _waiting(store: SessionStore) -> str:
    from ifllm_hf.data.sessions.collected import open_sessions

    if not store.count():
        return "0"
    return f"{len(open_sessions(store.folder).waiting):,} questions: ifllm review {store.folder}"


def _pushed(store: SessionStore) -> str:
    if store.hub is None:
        return "no Hub dataset is set"
    sizes = store.sizes()
    behind = sum(store.pushed.get(i, 0) < size for i, size in sizes.items())
    at_s = store.hub.pushed_epoch_s
    return f"{'none yet' if at_s is None else _at(at_s)}; {behind} sessions wait for the next"


def _tried(find: Callable[[], str]) -> str:
    try:
        return find()
    except (IFLLMError, OSError) as error:
        return f"cannot be told: {error}"


def _at(epoch_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.most_common()) or "none"
