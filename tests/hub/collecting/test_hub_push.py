"""Sessions on the Hub: durable only once they are there, and gone from there when withdrawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import Refusal, SessionStore, Stored
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.hub.collecting.hub_push import WITHDRAWAL, HubPush
from tests.helpers.capture.session_store import CONSENT

REPO = "lab/sessions"
NEVER_S = 3600.0


@pytest.fixture
def make_store(hub: Any, tmp_path: Path) -> Iterator[Callable[..., SessionStore]]:
    """Start a store whose background push has done its first round and sleeps since."""
    started: list[SessionStore] = []

    def make(folder: str = "sessions", **changes: Any) -> SessionStore:
        settings = Settings(
            sessions=tmp_path / folder,
            contact="lab@example.org",
            legal_basis="a test",
            secret="s" * 64,
            hub_dataset=REPO,
            hub_interval_s=NEVER_S,
            **changes,
        )
        store = SessionStore(settings, push=HubPush)
        store.start()
        started.append(store)
        assert store.hub is not None
        store.hub.push()
        return store

    yield make
    hub.failing.clear()
    for store in started:
        store.close()


def batch(seq: int = 0, filler: int = 1) -> dict[str, Any]:
    return {
        "type": "batch",
        "tab": "tabtabtab",
        "seq": seq,
        "origin_epoch_ms": 1.7e12,
        "sent_epoch_ms": 1.7e12,
        "received_epoch_ms": 1.7e12,
        "events": [["f", 1.5, 1]] * filler,
    }


def pushed(hub: Any, session_id: str) -> bytes | None:
    found: bytes | None = hub.files(REPO).get(f"sessions/{session_id}.jsonl")
    return found


def on_disk(store: SessionStore, session_id: str) -> bytes:
    return (store.folder / f"{session_id}.jsonl").read_bytes()


def test_batch_is_durable_only_after_the_push(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    assert store.append(session_id, batch(0)) == Stored(duplicate=False, durable=False)
    assert store.durable(session_id, "tabtabtab", [0, 1]) == ([], [1])
    assert store.hub is not None
    store.hub.push()
    assert pushed(hub, session_id) == on_disk(store, session_id)
    assert hub.repos["datasets", REPO].private
    assert store.append(session_id, batch(0)) == Stored(duplicate=True, durable=True)
    assert store.append(session_id, batch(1)) == Stored(duplicate=False, durable=False)
    assert store.durable(session_id, "tabtabtab", [0, 1, 2]) == ([0], [2])


def test_one_commit_holds_all_that_grew_and_nothing_else(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    ids = [store.open_session(**CONSENT).session_id for _ in range(3)]
    assert store.hub is not None
    store.hub.push()
    commits = len(hub.repos["datasets", REPO].commits)
    store.append(ids[0], batch())
    store.append(ids[2], batch())
    hub.requests.clear()
    store.hub.push()
    assert len(hub.repos["datasets", REPO].commits) == commits + 1
    assert set(hub.files(REPO)) == {f"sessions/{i}.jsonl" for i in ids}
    store.hub.push()
    assert len(hub.repos["datasets", REPO].commits) == commits + 1


def test_large_uploads_are_split_into_commits(
    hub: Any, make_store: Callable[..., SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.hub.collecting import hub_push

    monkeypatch.setattr(hub_push, "_COMMIT_BYTES_MAX", 900)
    store = make_store()
    ids = [store.open_session(**CONSENT).session_id for _ in range(5)]
    assert store.hub is not None
    store.hub.push()
    assert all(pushed(hub, i) == on_disk(store, i) for i in ids)
    titles = [c.message for c in hub.repos["datasets", REPO].commits]
    added = [int(title.split()[2]) for title in titles if title.startswith("Add to")]
    assert sum(added) == 5 and len(added) > 1


def test_failed_push_makes_nothing_durable_and_the_next_one_heals(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, batch())
    hub.failing["commit"] = 418
    assert store.hub is not None
    with pytest.raises(OutputError, match="418"):
        store.hub.push()
    assert store.durable(session_id, "tabtabtab", [0]) == ([], [])
    assert store.append(session_id, batch(1)).duplicate is False
    hub.failing.clear()
    store.hub.push()
    assert store.durable(session_id, "tabtabtab", [0, 1]) == ([0, 1], [])


def test_public_repository_gets_nothing(
    hub: Any, make_store: Callable[..., SessionStore], caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import HfApi

    HfApi().create_repo(REPO, repo_type="dataset", private=False)
    with pytest.raises(ConfigError, match="public"):
        make_store()
    assert hub.files(REPO) == {}


def test_closing_pushes_what_is_left(hub: Any, make_store: Callable[..., SessionStore]) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, batch())
    store.close()
    assert pushed(hub, session_id) == on_disk(store, session_id)


def test_background_loop_pushes_by_itself(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    import time

    store = make_store()
    assert store.hub is not None
    session_id = store.open_session(**CONSENT).session_id
    store.hub._interval_s = 0.05
    store.hub._stop.set()
    store.hub._loop.join()
    store.hub._stop.clear()
    store.hub._loop = type(store.hub._loop)(target=store.hub._run, daemon=True)
    store.hub.start()
    end = time.monotonic() + 10
    while pushed(hub, session_id) is None and time.monotonic() < end:
        time.sleep(0.02)
    assert pushed(hub, session_id) is not None


def test_restart_knows_what_is_pushed(hub: Any, make_store: Callable[..., SessionStore]) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, batch())
    store.close()
    commits = len(hub.repos["datasets", REPO].commits)
    store = make_store()
    assert len(hub.repos["datasets", REPO].commits) == commits
    assert store.durable(session_id, "tabtabtab", [0]) == ([0], [])


def test_machine_that_lost_its_disk_goes_on_from_the_hub(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    """The browser kept what was not durable, and learns that it must send it again."""
    store = make_store()
    opened = store.open_session(**CONSENT)
    store.append(opened.session_id, batch(0))
    assert store.hub is not None
    store.hub.push()
    store.append(opened.session_id, batch(1))  # on the disk alone
    fresh = make_store("another disk")
    assert fresh.check_token(opened.session_id, opened.token)
    assert fresh.durable(opened.session_id, "tabtabtab", [0, 1]) == ([0], [1])
    assert fresh.append(opened.session_id, batch(0)).duplicate
    assert not fresh.append(opened.session_id, batch(1)).duplicate
    assert on_disk(fresh, opened.session_id) == on_disk(store, opened.session_id)


def test_session_that_is_nowhere_may_come_back(make_store: Callable[..., SessionStore]) -> None:
    store = make_store()
    with pytest.raises(Refusal) as refused:
        store.append("s_" + "a" * 22, batch())
    assert refused.value.error == "missing" and refused.value.retry


# --- withdrawal


def nothing_left(hub: Any, session_id: str) -> None:
    """Look for a session in every commit, object and file of the hub."""
    repo = hub.repos["datasets", REPO]
    for commit in repo.commits:
        assert not any(session_id in path for path in commit.files)
        assert not any(session_id.encode() in file.data for file in commit.files.values())
    assert not any(session_id in path for path in repo.lfs.values())
    assert not any(session_id.encode() in data for data in hub.blobs.values())


@pytest.mark.parametrize("lfs", [False, True])
def test_withdrawn_session_is_gone_everywhere(
    hub: Any,
    make_store: Callable[..., SessionStore],
    monkeypatch: pytest.MonkeyPatch,
    lfs: bool,
) -> None:
    if lfs:  # as real hubs do with large files
        monkeypatch.setattr("tests.helpers.loopback_hub._LFS_SIZE", 100)
    store = make_store()
    kept, leaving = (store.open_session(**CONSENT) for _ in range(2))
    assert store.hub is not None
    for seq in range(3):  # three versions of each in the history
        store.append(kept.session_id, batch(seq))
        store.append(leaving.session_id, batch(seq))
        store.hub.push()
    assert bool(hub.blobs) is lfs
    (store.folder / "quarantine").mkdir()
    (store.folder / "quarantine" / f"{leaving.session_id}.9.torn").write_bytes(b"{")
    assert store.withdraw(leaving.withdrawal_code).complete
    nothing_left(hub, leaving.session_id)
    assert not list(store.folder.rglob(f"*{leaving.session_id}*"))
    assert pushed(hub, kept.session_id) == on_disk(store, kept.session_id)
    tombstone = tombstone_of(leaving.session_id)
    assert hub.files(REPO)["withdrawn.txt"].decode() == f"{tombstone}\n"
    assert (store.folder / "withdrawn.txt").read_text() == f"{tombstone}\n"
    assert len(hub.repos["datasets", REPO].commits) == 1
    with pytest.raises(Refusal) as refused:
        store.append(leaving.session_id, batch(9))
    assert refused.value.status == 410
    assert store.withdraw(leaving.withdrawal_code).complete, "asking twice does no harm"
    store.append(kept.session_id, batch(9))
    store.hub.push()
    assert pushed(hub, kept.session_id) == on_disk(store, kept.session_id)


@pytest.mark.parametrize("step", ["tree", "commit", "commits", "squash", "lfs_files", "lfs_delete"])
def test_withdrawal_that_the_hub_interrupts_is_finished_later(
    hub: Any, make_store: Callable[..., SessionStore], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr("tests.helpers.loopback_hub._LFS_SIZE", 100)
    store = make_store()
    opened = store.open_session(**CONSENT)
    assert store.hub is not None
    for seq in range(2):
        store.append(opened.session_id, batch(seq))
        store.hub.push()
    hub.failing[step] = 418
    assert not store.withdraw(opened.withdrawal_code).complete
    assert not list(store.folder.rglob(f"{opened.session_id}*")), "it is gone here at once"
    hub.failing.clear()
    store.close()  # and the machine starts anew, on another disk
    make_store("another disk" if step not in ("tree", "commit") else "sessions")
    nothing_left(hub, opened.session_id)


def test_machine_that_lost_its_disk_remembers_withdrawals(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    opened = store.open_session(**CONSENT)
    assert store.hub is not None
    store.hub.push()
    store.withdraw(opened.withdrawal_code)
    fresh = make_store("another disk")
    with pytest.raises(Refusal) as refused:
        fresh.append(opened.session_id, batch())
    assert refused.value.error == "gone"


def test_session_that_is_on_the_hub_alone_can_be_withdrawn(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    opened = store.open_session(**CONSENT)
    assert store.hub is not None
    store.hub.push()
    fresh = make_store("another disk")
    assert fresh.withdraw(opened.withdrawal_code).complete
    nothing_left(hub, opened.session_id)


def test_withdrawal_waits_for_a_push_and_the_push_brings_nothing_back(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    import threading

    store = make_store()
    opened = store.open_session(**CONSENT)
    store.append(opened.session_id, batch())
    assert store.hub is not None
    with store.hub.lock:  # as a push in flight has it
        thread = threading.Thread(target=store.withdraw, args=(opened.withdrawal_code,))
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        store.hub.push()
        assert pushed(hub, opened.session_id) is not None
    thread.join(10)
    store.hub.push()
    nothing_left(hub, opened.session_id)


def test_sessions_are_json_lines_on_the_hub(
    hub: Any, make_store: Callable[..., SessionStore]
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, batch())
    assert store.hub is not None
    store.hub.push()
    lines = (pushed(hub, session_id) or b"").splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["session", "batch"]
    assert WITHDRAWAL not in [c.message for c in hub.repos["datasets", REPO].commits]
