"""A code deletes its session here for good; wrong codes are counted."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.capture.server import OpenedSession, Refusal, SessionStore, durable
from ifllm_hf.capture.server.identity import new_identity
from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from tests.helpers.capture.session_store import CONSENT, make_batch, make_settings

Make = Callable[..., SessionStore]


def test_tombstone_keeps_a_hash_alone(store: SessionStore, opened: OpenedSession) -> None:
    other = store.open_session(**CONSENT)
    store.append(opened.session_id, make_batch())
    assert store.withdraw(opened.withdrawal_code).complete
    everything = {p.name: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}
    assert everything.pop("withdrawn.txt").decode() == f"{tombstone_of(opened.session_id)}\n"
    for name, data in everything.items():
        assert opened.session_id not in name and opened.session_id.encode() not in data
    assert f"{other.session_id}.jsonl" in everything
    assert not store.append(other.session_id, make_batch()).duplicate


def test_late_batches_are_gone_also_after_a_restart(make_store: Make) -> None:
    store = make_store()
    opened = store.open_session(**CONSENT)
    store.withdraw(opened.withdrawal_code)
    for _ in range(2):
        with pytest.raises(Refusal) as refused:
            store.append(opened.session_id, make_batch())
        assert (refused.value.error, refused.value.status) == ("gone", 410)
        store = make_store()


def test_crash_between_tombstone_and_deletion_is_finished_at_the_start(make_store: Make) -> None:
    store = make_store()
    opened = store.open_session(**CONSENT)
    store.bury(tombstone_of(opened.session_id))
    store.close()
    assert (store.folder / f"{opened.session_id}.jsonl").exists()
    make_store()
    assert not (store.folder / f"{opened.session_id}.jsonl").exists()


# --- on a disk without space


def traces(folder: Path, session_id: str) -> list[str]:
    """Return the files that still know a session by more than the hash of its id."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and (session_id in path.name or session_id.encode() in path.read_bytes())
    ]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Let every durable write fail as on a full disk, or no more."""
    write, full = durable.write_durably, [False]

    def maybe(path: Path, data: bytes, **kwargs: Any) -> None:
        if full[0]:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(path, data, **kwargs)

    monkeypatch.setattr("ifllm_hf.capture.server.session_folder.write_durably", maybe)
    yield lambda yes: full.__setitem__(0, yes)


@pytest.mark.parametrize("still_full", [False, True])
def test_withdrawal_needs_no_space(
    make_store: Make, full_disk: Callable[[bool], None], still_full: bool
) -> None:
    store = make_store()
    opened, other = (store.open_session(**CONSENT) for _ in range(2))
    store.append(opened.session_id, make_batch())
    full_disk(True)
    assert store.withdraw(opened.withdrawal_code).complete
    assert traces(store.folder, opened.session_id) == []
    for starts in range(3):
        with pytest.raises(Refusal) as refused:
            store.append(opened.session_id, make_batch())
        assert refused.value.error == "gone", f"it came back after {starts} starts"
        assert not store.append(other.session_id, make_batch(seq=starts)).duplicate
        full_disk(still_full)
        store = make_store()
        assert traces(store.folder, opened.session_id) == []
    full_disk(False)
    store = make_store()
    text = (store.folder / "withdrawn.txt").read_text()
    assert text.split() == [tombstone_of(opened.session_id)]
    assert list(store.folder.glob("*.withdrawn")) == []


def test_withdrawal_on_a_disk_that_takes_nothing_is_said_and_not_done(
    make_store: Make, full_disk: Callable[[bool], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    opened = store.open_session(**CONSENT)

    def read_only(*arguments: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    full_disk(True)
    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.capture.server.session_folder.os.replace", read_only)
        with pytest.raises(Refusal) as refused:
            store.withdraw(opened.withdrawal_code)
    assert refused.value.error == "disk" and refused.value.retry
    full_disk(False)
    assert not store.append(opened.session_id, make_batch()).duplicate, "it goes on as before"
    assert store.withdraw(opened.withdrawal_code).complete
    assert traces(store.folder, opened.session_id) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_withdrawal_on_a_disk_that_is_really_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode()}")
    try:
        store = SessionStore(make_settings(disk / "sessions"))
        store.start()
        gone, other = (store.open_session(**CONSENT) for _ in range(2))
        for seq in range(3):
            store.append(gone.session_id, make_batch(seq=seq, events=[["f", 1, 1]] * 200))
        (disk / "filler").write_bytes(b"")
        with contextlib.suppress(OSError), open(disk / "filler", "wb", buffering=0) as filler:
            while filler.write(b"x" * 512):
                pass
        with pytest.raises(Refusal):
            store.append(other.session_id, make_batch(events=[["f", 1, 1]] * 2000))
        with pytest.raises(Refusal):
            store.open_session(**CONSENT)
        assert store.withdraw(gone.withdrawal_code).complete
        assert traces(store.folder, gone.session_id) == []
        store.close()
        store = SessionStore(make_settings(disk / "sessions"))
        store.start()
        with pytest.raises(Refusal, match="withdrawn"):
            store.append(gone.session_id, make_batch())
        assert traces(store.folder, gone.session_id) == []
        assert all(path.stat().st_size for path in store.folder.glob("*.jsonl"))
        store.close()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_batch_in_the_queue_does_not_bring_it_back(
    store: SessionStore, opened: OpenedSession
) -> None:
    with store.lock:
        waiting = [store.submit(opened.session_id, make_batch(seq=seq)) for seq in range(20)]
        store.withdraw(opened.withdrawal_code)
    for answer in waiting:
        with pytest.raises(Refusal, match="withdrawn"):
            answer.result(10)
    assert not (store.folder / f"{opened.session_id}.jsonl").exists()


def test_wrong_codes_are_refused_and_counted(store: SessionStore, opened: OpenedSession) -> None:
    said = []
    for _ in range(25):
        with pytest.raises(Refusal) as refused:
            store.withdraw(new_identity()[1])
        said.append((refused.value.error, refused.value.status))
    assert said[0] == ("code", 404) and said[-1] == ("rate", 429)
    assert said.count(("code", 404)) == 20
    file = store.folder / f"{opened.session_id}.jsonl"
    assert file.exists()
    assert store.withdraw(opened.withdrawal_code).complete  # strangers keep nobody from leaving
    assert not file.exists()


@pytest.mark.parametrize("public", [False, True])
def test_export_is_made_again_without_the_session(
    make_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.collected import reader_of
    from ifllm_hf.data.sessions.sessions_card import waiting_questions
    from tests.helpers.made_up_sessions import write_sessions

    exports = tmp_path / "export"
    store = make_store(exports=exports)
    kept, leaving = write_sessions(store.folder, 2, turns=1, steps=5)
    if public:  # somebody read every question
        monkeypatch.setattr("ifllm_hf.data.sessions.session_rows.PUBLISH", None)
    monkeypatch.setattr("ifllm_hf.capture.server.withdrawal.session_id_of", lambda code: code)
    prepare(store.folder, exports, progress=False, public=public)

    def readers() -> set[str]:
        frames = [pl.read_parquet(file) for file in exports.glob("pairwise/*.parquet")]
        return set(pl.concat(frames)["user_id"])

    pseudonyms = [reader_of(s.session_id, made_up=True) for s in (kept, leaving)]
    assert readers() == set(pseudonyms)
    store.withdraw(leaving.session_id)
    assert readers() == {pseudonyms[0]}
    assert (waiting_questions(exports) == 0) is public
    store.withdraw(kept.session_id)
    assert not exports.exists()


def test_nothing_but_a_hash_stays_in_reviews_and_in_any_export(
    make_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exports that the operator never named are known from `prepare`, and made again too."""
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.collected import open_sessions, reader_of
    from ifllm_hf.data.sessions.review import PUBLISH, WITHHOLD, write_decisions
    from tests.helpers.made_up_sessions import write_sessions

    store = make_store()
    kept, leaving = write_sessions(store.folder, 2, turns=1, steps=5)
    waiting = open_sessions(store.folder).waiting
    write_decisions(store.folder, dict.fromkeys(waiting, PUBLISH))
    write_decisions(store.folder, dict.fromkeys(waiting, WITHHOLD))
    write_decisions(store.folder, dict.fromkeys(waiting, PUBLISH))
    places = [tmp_path / name for name in ("one", "two", "public")]
    for place in places:
        prepare(store.folder, place, progress=False, public=place.name == "public")
    moved = tmp_path / "moved"
    places[1].rename(moved)
    places[1].mkdir()
    (places[1] / "mine.txt").write_text("something else by now")
    monkeypatch.setattr("ifllm_hf.capture.server.withdrawal.session_id_of", lambda code: code)
    pseudonym = reader_of(leaving.session_id, made_up=True)
    assert store.withdraw(leaving.session_id).complete
    reviews = (store.folder / "reviews.csv").read_text()
    assert pseudonym not in reviews and reader_of(kept.session_id, made_up=True) in reviews
    assert reviews.startswith("user_id,")
    for place in (places[0], places[2]):
        text = b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
        readers = set(pl.read_parquet(place / "workers")["user_id"])
        assert pseudonym not in readers and len(readers) == 1
        assert leaving.session_id.encode() not in text
    assert (places[1] / "mine.txt").exists(), "what is no export is left alone"


def test_an_export_that_a_crash_left_is_finished_at_the_start(
    make_store: Make, tmp_path: Path
) -> None:
    from ifllm_hf.data.prepared.prepare import prepare
    from tests.helpers.made_up_sessions import write_sessions

    store = make_store()
    _, leaving = write_sessions(store.folder, 2, turns=1, steps=5)
    prepare(store.folder, tmp_path / "export", progress=False)
    store.bury(tombstone_of(leaving.session_id))
    make_store()
    assert len(pl.read_parquet(tmp_path / "export" / "workers")) == 1
