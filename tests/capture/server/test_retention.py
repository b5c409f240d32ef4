"""Sessions whose time is over are deleted, as their reader was told; the clock is moved by hand."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import OpenedSession, Refusal, SessionStore, packing
from ifllm_hf.capture.server.status import status
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.prepared.exports_of_sessions import holds_withdrawn
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import ConfigError
from ifllm_hf.hub.collecting import HubPush
from tests.helpers.capture.session_store import CONSENT, lines_of, make_batch, make_settings
from tests.helpers.spaces.running import wait_until

DAY_S = 86_400
Make = Callable[..., SessionStore]


class Clock:
    """The time of a server, in epoch seconds."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_days(self, days: float) -> None:
        self.now_s += DAY_S * days


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    """Start stores on one folder and clock, one after the other."""
    started: list[SessionStore] = []

    def start(**changes: Any) -> SessionStore:
        for store in started:
            store.close()
        settings = make_settings(tmp_path / "sessions", **changes)
        started.append(SessionStore(settings, push=HubPush, clock=clock))
        started[-1].start()
        return started[-1]

    yield start
    for store in started:
        store.close()


def begun(store: SessionStore) -> OpenedSession:
    opened = store.open_session(**CONSENT)
    grow(store, opened, 0)
    return opened


def grow(store: SessionStore, opened: OpenedSession, seq: int) -> None:
    # The browser's own times are of 2023: they decide nothing.
    store.append(opened.session_id, make_batch(seq=seq) | {"received_epoch_ms": store.now_ms()})


def swept(store: SessionStore) -> int:
    """Sweep, and return how many were deleted since the start, by its own sweep too."""
    store.retention.sweep()
    return store.watch.counts().expired


def kept(store: SessionStore) -> set[str]:
    return set(StoredSessions(store.folder).sizes())


def test_days_count_from_the_last_event(make: Make, clock: Clock) -> None:
    store = make(keep_days=30)
    resting, active = begun(store), begun(store)
    clock.pass_days(29)
    grow(store, active, 1)
    assert swept(store) == 0
    clock.pass_days(1.01)
    assert swept(store) == 1
    assert kept(store) == {active.session_id}
    assert (store.folder / "withdrawn.txt").read_text().split() == [tombstone(resting.session_id)]
    with pytest.raises(Refusal) as refused:
        grow(store, resting, 1)
    assert refused.value.error == "gone"
    assert dict(status(store))["kept"] == (
        "30 days after the last event; 1 deleted because their time was over"
    )
    clock.pass_days(30)
    assert swept(store) == 2 and kept(store) == set()


def test_what_was_promised_holds_whatever_is_set_later(make: Make, clock: Clock) -> None:
    store = make(keep_days=10)
    promised = begun(store)
    assert lines_of(store, promised.session_id)[0]["consent"]["keep_days"] == 10
    store = make()
    forever = begun(store)
    assert "keep_days" not in lines_of(store, forever.session_id)[0]["consent"]
    clock.pass_days(11)
    assert swept(store) == 1 and kept(store) == {forever.session_id}
    clock.pass_days(10_000)
    assert swept(store) == 1
    store = make(keep_days=90)
    wait_until(lambda: store.watch.counts().expired == 1, "a start deletes by itself")
    assert kept(store) == set(), "a number that is set later holds for all"


def test_packed_sessions_leave_their_shard(
    make: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_LEAST", 1)
    store = make(keep_days=30)
    old, goes_on = begun(store), begun(store)
    clock.pass_days(20)
    young = begun(store)
    for file in store.folder.glob("*.jsonl"):
        os.utime(file, (0, 0))
    store.packing.pack()  # its own thread may have begun
    wait_until(lambda: not list(store.folder.glob("*.jsonl")), "all are packed")
    grow(store, goes_on, 1)  # has a file of its own again
    clock.pass_days(11)
    assert swept(store) == 1
    assert kept(store) == {goes_on.session_id, young.session_id}
    clock.pass_days(20)
    assert swept(store) == 3
    assert list(store.folder.glob("*.parquet")) == list(store.folder.glob("*.jsonl")) == []
    assert old.session_id not in str(list(store.folder.rglob("*")))


def test_what_a_crash_left_goes_too(make: Make, clock: Clock, tmp_path: Path) -> None:
    store = make(keep_days=30)
    half = store.folder / "quarantine" / f"s_{'x' * 22}.1.part"
    half.parent.mkdir()
    no_session = store.folder / f"s_{'y' * 22}.jsonl"
    for file, content in ((half, b'{"type":"ses'), (no_session, b"no JSON\n")):
        made = tmp_path / "made"
        made.write_bytes(content)
        os.utime(made, (clock.now_s, clock.now_s))
        made.rename(file)
    assert swept(store) == 0
    clock.pass_days(31)
    assert swept(store) == 2
    assert not half.exists() and not no_session.exists()


def test_exports_are_made_again_without_them(make: Make, clock: Clock, tmp_path: Path) -> None:
    store = make(keep_days=30)
    begun(store)
    clock.pass_days(20)
    left = begun(store)
    prepare(store.folder, tmp_path / "mine", progress=False)
    clock.pass_days(11)
    assert swept(store) == 1
    assert (tmp_path / "mine").exists()
    assert not holds_withdrawn(tmp_path / "mine", store.tombstones())
    assert kept(store) == {left.session_id}


def test_what_only_the_hub_has_is_deleted_there(
    hub: Any, make: Make, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_LEAST", 1)
    there = {"hub_dataset": "lab/sessions", "secret": "s" * 64, "hub_interval_s": 3600.0}
    store = make(keep_days=30, **there)
    assert store.hub is not None
    packed = begun(store)
    os.utime(store.path(packed.session_id), (0, 0))
    store.packing.pack()  # unless its own thread was faster
    assert list(store.folder.glob("packed-*"))
    begun(store)
    clock.pass_days(20)
    young = begun(store)
    store.close()
    shutil.move(store.folder, tmp_path / "lost")  # a new disk, as a Space has at each restart
    clock.pass_days(11)
    store = make(keep_days=30, **there)
    assert swept(store) == 2
    repo = hub.repos["datasets", "lab/sessions"]
    assert sessions_of(hub) == [f"{young.session_id}.jsonl"]
    assert len(repo.commits) == 1, "history is squashed"
    clock.pass_days(20)
    assert swept(store) == 3 and sessions_of(hub) == []


def sessions_of(hub: Any) -> list[str]:
    names = [name.rpartition("/")[2] for name in hub.files("lab/sessions")]
    return [name for name in names if name.startswith(("s_", "packed-"))]


@pytest.mark.parametrize("days", ["0", "-3", "1.5", "a month", "36501"])
def test_days_that_are_none(days: str) -> None:
    with pytest.raises(ConfigError, match="KEEP_DAYS"):
        Settings.from_environment({"IFLLM_SPACE_KEEP_DAYS": days})
