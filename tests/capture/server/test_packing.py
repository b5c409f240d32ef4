"""The server packs what has come to rest; packed sessions go on, and leave, as others do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import OpenedSession, Refusal, SessionStore, packing
from ifllm_hf.capture.server.status import status
from ifllm_hf.capture.taking_part.completion import completions
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.data.sessions.shard import Shard
from ifllm_hf.data.sessions.stored import StoredSessions
from tests.helpers.capture.session_store import CONSENT, lines_of, make_batch

Make = Callable[..., SessionStore]


@pytest.fixture(autouse=True)
def few_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_LEAST", 1)


def rest(store: SessionStore) -> int:
    """Let all sessions have come to rest long ago, and pack them; return how many were packed."""
    for file in store.folder.glob("*.jsonl"):
        os.utime(file, (0, 0))
    return store.packing.pack()


def packed_ids(folder: Path) -> set[str]:
    shards = folder.rglob("packed-*.parquet")
    return {session.session_id for shard in shards for session in Shard(shard).sessions}


def filled(store: SessionStore, count: int = 3) -> list[OpenedSession]:
    opened = [store.open_session(**CONSENT) for _ in range(count)]
    for one in opened:
        store.append(one.session_id, make_batch())
    return opened


def test_late_lines_of_a_packed_session_are_taken_once(make_store: Make) -> None:
    store = make_store()
    first, second, third = filled(store)
    codes = list(completions(store.folder, "secret"))
    assert store.packing.pack() == 0, "they were written just now"
    assert rest(store) == 3
    assert list(store.folder.glob("*.jsonl")) == [] and store.count() == 3
    assert list(completions(store.folder, "secret")) == codes
    assert dict(status(store))["sessions today"].endswith("of 3 kept here")
    assert store.append(first.session_id, make_batch()).duplicate
    assert not store.append(first.session_id, make_batch(seq=1)).duplicate
    assert [line["type"] for line in lines_of(store, first.session_id)] == [
        "session", "batch", "batch"
    ]  # fmt: skip
    assert store.durable(second.session_id, "tabtabtab", [0, 1]) == ([0], [1])
    store = make_store()
    assert not store.append(third.session_id, make_batch(seq=1)).duplicate
    assert rest(store) == 3 and packed_ids(store.folder) == {
        one.session_id for one in (first, second, third)
    }
    assert store.append(first.session_id, make_batch(seq=1)).duplicate
    assert store.append(third.session_id, make_batch(seq=1)).duplicate


def test_withdrawal_writes_the_shard_anew(make_store: Make, tmp_path: Path) -> None:
    store = make_store()
    leaving, kept, _ = filled(store)
    rest(store)
    (shard,) = store.folder.glob("*.parquet")
    shutil.copy(shard, tmp_path)
    assert store.withdraw(leaving.withdrawal_code).complete
    assert leaving.session_id not in packed_ids(store.folder) and not shard.exists()
    with pytest.raises(Refusal) as refused:
        store.append(leaving.session_id, make_batch(seq=1))
    assert refused.value.error == "gone"
    assert store.append(kept.session_id, make_batch()).duplicate
    shutil.copy(tmp_path / shard.name, shard)  # an old copy comes back
    store = make_store()
    assert leaving.session_id not in packed_ids(store.folder)
    assert len(packed_ids(store.folder)) == 2


def test_crash_between_tombstone_and_shard_is_finished_at_the_start(make_store: Make) -> None:
    store = make_store()
    leaving, *_ = filled(store)
    rest(store)
    store.bury(tombstone_of(leaving.session_id))
    make_store()
    assert len(packed_ids(store.folder)) == 2


def test_a_full_disk_keeps_the_shard_and_the_tombstone(
    make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    leaving, *_ = filled(store)
    rest(store)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.data.sessions.shard.pq.ParquetWriter", full)
        patch.setattr("ifllm_hf.capture.server.session_folder.write_durably", full)
        assert not store.withdraw(leaving.withdrawal_code).complete
        with pytest.raises(Refusal, match="withdrawn"):
            store.append(leaving.session_id, make_batch(seq=1))
        assert len(packed_ids(store.folder)) == 3
    assert store.take_out_of_shards()
    assert len(packed_ids(store.folder)) == 2
    store = make_store()
    assert (store.folder / "withdrawn.txt").read_text().split() == [
        tombstone_of(leaving.session_id)
    ]


def test_a_damaged_shard_stops_nobody_else(make_store: Make) -> None:
    store = make_store()
    filled(store, 1)
    rest(store)
    (shard,) = store.folder.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-9])
    store = make_store()
    (other,) = filled(store, 1)
    assert shard.name in str(store.watch.counts().last_trouble)
    assert store.withdraw(other.withdrawal_code).complete is False, "who was in it is not known"
    assert shard.exists()


# --- on the Hub

REPO = "lab/sessions"
HUB = {"hub_dataset": REPO, "secret": "s" * 64, "hub_interval_s": 3600.0}


def there(hub: Any, tmp_path: Path) -> Path:
    """Return a copy of the repository."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    for name, data in hub.files(REPO).items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(data)
    return copy


def on_hub(make_store: Make, **changes: Any) -> tuple[SessionStore, Callable[[], None]]:
    store = make_store(**HUB, **changes)
    assert store.hub is not None
    store.hub.push()
    return store, store.hub.push


def test_one_commit_brings_a_shard_and_takes_its_files(
    hub: Any, make_store: Make, tmp_path: Path
) -> None:
    store, push = on_hub(make_store)
    opened = filled(store)
    push()
    assert rest(store) == 3
    (late,) = filled(store, 1)
    commits = hub.repos["datasets", REPO].commits
    before = len(commits)
    push()
    assert len(commits) == before + 1 and commits[-1].message == "Add to 1 sessions, 1 shards"
    names = {name.rpartition("/")[2] for name in hub.files(REPO)}
    (shard,) = store.folder.glob("*.parquet")
    assert names == {shard.name, f"{late.session_id}.jsonl"}
    push()
    assert len(commits) == before + 1
    assert store.append(opened[0].session_id, make_batch(seq=1)).durable is False
    push()
    assert store.durable(opened[0].session_id, "tabtabtab", [0, 1]) == ([0, 1], [])
    assert rest(store) == 2
    push()
    copy = there(hub, tmp_path) / "sessions"
    assert len(list(copy.iterdir())) == 1, "the small shard went into another"
    stored = StoredSessions(copy)
    assert len(stored.sizes()) == 4
    assert stored.place(opened[0].session_id).read_bytes().count(b"\n") == 3


def test_a_new_disk_goes_on_and_lets_go_from_shards_of_the_hub(
    hub: Any, make_store: Make, tmp_path: Path
) -> None:
    store, push = on_hub(make_store)
    first, leaving, third = filled(store)
    rest(store)
    push()
    store.close()
    shutil.move(store.folder, tmp_path / "lost")
    store, push = on_hub(make_store)
    assert store.append(first.session_id, make_batch()).duplicate
    assert not store.append(first.session_id, make_batch(seq=1)).duplicate
    assert store.withdraw(leaving.withdrawal_code).complete
    copy = there(hub, tmp_path)
    assert packed_ids(copy) == {first.session_id, third.session_id}
    assert (copy / "withdrawn.txt").read_text().split() == [tombstone_of(leaving.session_id)]
    repo = hub.repos["datasets", REPO]
    assert len(repo.commits) == 1, "history is squashed"
    assert len(hub.blobs) == 1, "and the old shard is no object any more"
    assert store.durable(third.session_id, "tabtabtab", [0]) == ([0], [])


def test_withdrawal_of_a_packed_session_here_and_there(
    hub: Any, make_store: Make, tmp_path: Path
) -> None:
    store, push = on_hub(make_store)
    leaving, *kept = filled(store)
    push()
    rest(store)
    push()
    (late,) = filled(store, 1)
    push()
    rest(store)  # the next commit is that of the withdrawal
    hub.failing["commit"] = 418
    assert not store.withdraw(leaving.withdrawal_code).complete
    hub.failing.clear()
    push()
    left = {one.session_id for one in (*kept, late)}
    assert not [name for name in hub.files(REPO) if name.endswith(".jsonl")]
    assert packed_ids(there(hub, tmp_path)) == packed_ids(store.folder) == left
    assert {n.rpartition("/")[2] for n in hub.files(REPO) if n.endswith(".parquet")} == {
        shard.name for shard in store.folder.glob("*.parquet")
    }, "what was written anew here is what is there"
    assert len(hub.blobs) == 1


def test_a_damaged_shard_on_the_hub_stops_no_push(
    hub: Any, make_store: Make, tmp_path: Path
) -> None:
    from huggingface_hub import HfApi

    store, push = on_hub(make_store)
    leaving, kept = filled(store, 2)
    push()
    name = f"sessions/packed-{'0' * 16}.parquet"
    HfApi().upload_file(
        path_or_fileobj=b"no Parquet", path_in_repo=name, repo_id=REPO, repo_type="dataset"
    )
    store, push = on_hub(make_store)
    assert not store.withdraw(leaving.withdrawal_code).complete, "they may be in the damaged one"
    store.append(kept.session_id, make_batch(seq=1))
    push()
    assert store.durable(kept.session_id, "tabtabtab", [1]) == ([1], [])
    assert f"sessions/{leaving.session_id}.jsonl" not in hub.files(REPO)
    assert "on the Hub" in str(store.watch.counts().last_trouble) and name in hub.files(REPO)
