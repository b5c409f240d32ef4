"""A line that was answered is on disk, once; a crash costs only what nobody was told of."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.capture.server import OpenedSession, Refusal, SessionStore, Stored, append_log
from ifllm_hf.capture.server.identity import new_identity
from ifllm_hf.errors import ConfigError
from tests.helpers.capture.session_store import CONSENT, lines_of, make_batch

TURN = {
    "type": "turn",
    "turn": 0,
    "kind": "pairwise",
    "question": "Why?",
    "responses": [{"box": "A", "source": "**Because**"}, {"box": "B", "source": "So"}],
    "side_swapped": False,
    "asked_epoch_ms": 1.7e12,
}
RATING = {
    "type": "rating",
    "turn": 0,
    "likert": {"A": 4, "B": 2},
    "preference": "a",
    "better_than_previous": None,
    "at_epoch_ms": 1.7e12,
}


def test_session_begins_with_its_consent(store: SessionStore, opened: OpenedSession) -> None:
    (first,) = lines_of(store, opened.session_id)
    assert first["type"] == "session" and first["session_id"] == opened.session_id
    assert first["consent"]["adult"] is True and len(first["consent"]["text_sha256"]) == 64


def test_lines_come_back_in_order(store: SessionStore, opened: OpenedSession) -> None:
    sent = [TURN, make_batch(seq=0), make_batch(seq=1), RATING]
    for line in sent:
        assert store.append(opened.session_id, line) == Stored(duplicate=False, durable=True)
    assert lines_of(store, opened.session_id)[1:] == sent


def test_batch_is_stored_once_also_after_a_restart(make_store: Callable[..., SessionStore]) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    assert not store.append(session_id, make_batch()).duplicate
    assert store.append(session_id, make_batch(events=[["f", 9, 0]])).duplicate
    store = make_store()
    reordered = dict(reversed(make_batch().items()))
    assert store.append(session_id, reordered).duplicate
    assert not store.append(session_id, make_batch(tab="othertab")).duplicate
    batches = lines_of(store, session_id)[1:]
    assert [(b["tab"], b["events"]) for b in batches] == [
        ("tabtabtab", [["f", 1.5, 1]]),
        ("othertab", [["f", 1.5, 1]]),
    ]


def test_same_batch_from_many_threads_is_stored_once(
    store: SessionStore, opened: OpenedSession
) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda i: store.append(opened.session_id, make_batch(seq=i % 20)), range(400))
        )
    assert sum(not a.duplicate for a in answers) == 20
    seqs = [b["seq"] for b in lines_of(store, opened.session_id)[1:]]
    assert sorted(seqs) == list(range(20))


def test_answer_comes_after_the_sync(
    store: SessionStore, opened: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()

    def slow_sync(handle: int) -> None:
        entered.set()
        assert go.wait(10)

    monkeypatch.setattr(append_log.os, "fdatasync", slow_sync)
    answer = store.submit(opened.session_id, make_batch())
    assert entered.wait(10) and not answer.done()
    go.set()
    assert answer.result(10) == Stored(duplicate=False, durable=True)


@pytest.mark.parametrize("broken", ["write", "short write", "sync"])
def test_disk_failure_is_told_and_leaves_no_trace(
    store: SessionStore, opened: OpenedSession, broken: str
) -> None:
    store.append(opened.session_id, make_batch(seq=0))

    def fail(*arguments: Any) -> int:
        if broken == "short write":
            return os_write(arguments[0], arguments[1][:10])
        raise OSError(28, "No space left on device")

    os_write = os.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append_log.os, "fdatasync" if broken == "sync" else "write", fail)
        with pytest.raises(Refusal) as refused:
            store.append(opened.session_id, make_batch(seq=1))
    assert refused.value.error == "disk" and refused.value.retry
    assert [b["seq"] for b in lines_of(store, opened.session_id)[1:]] == [0]
    assert not store.append(opened.session_id, make_batch(seq=1)).duplicate
    assert [b["seq"] for b in lines_of(store, opened.session_id)[1:]] == [0, 1]


@pytest.mark.parametrize("tail", [b'{"type":"ba', b"\0" * 5000, "🙂".encode()[:2], b"x" * 70000])
def test_torn_tail_is_cut_off_and_kept(
    make_store: Callable[..., SessionStore], tail: bytes
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, make_batch(seq=0))
    store.close()
    path = store.folder / f"{session_id}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    store = make_store()
    assert path.read_bytes() == whole
    (kept,) = (store.folder / "quarantine").iterdir()
    assert kept.read_bytes() == tail and kept.name.startswith(session_id)
    assert not store.append(session_id, make_batch(seq=1)).duplicate
    assert [b["seq"] for b in lines_of(store, session_id)[1:]] == [0, 1]


def test_session_whose_consent_was_torn_is_no_session(
    make_store: Callable[..., SessionStore],
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.close()
    path = store.folder / f"{session_id}.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    make_store()
    assert not path.exists()


# --- whatever state a session file is in


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _no_consent(path: Path) -> None:
    path.write_bytes(b'{"type":"batch"}\n' + path.read_bytes())


def _not_utf_8(path: Path) -> None:
    path.write_bytes("{}\n".encode("utf-16") * 9)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def _itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


SPOILED = [_no_consent, _not_utf_8, _folder, _pipe, _dangling, _itself]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_spoiled_session_file_stops_nobody_else(
    make_store: Callable[..., SessionStore],
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
) -> None:
    store = make_store()
    ours, other = (store.open_session(**CONSENT) for _ in range(2))
    store.close()
    spoil(store.path(ours.session_id))
    capsys.readouterr()
    store = make_store()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ours.session_id in said and " more." not in said
    assert not store.append(other.session_id, make_batch()).duplicate
    with pytest.raises(Refusal) as refused:  # its browser keeps what it has
        store.append(ours.session_id, make_batch())
    assert refused.value.retry
    assert not store.append(other.session_id, make_batch(seq=1)).duplicate
    assert store.sizes().keys() >= {other.session_id}


def test_a_session_file_of_another_owner(
    make_store: Callable[..., SessionStore],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Root may open anything, so the refusal of the system is made up."""
    store = make_store()
    names = [store.open_session(**CONSENT).session_id for _ in range(8)]
    store.close()

    def denied(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ifllm_hf.capture.server.session_folder.repair", denied)
    store = make_store()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "8 skipped" in said and "Permission denied" in said
    named = sum(name in said for name in names)
    assert 0 < named < 8 and f"and {8 - named} more. Expected" in said
    assert store.open_session(**CONSENT).session_id not in names


def test_empty_session_files_do_not_stay(make_store: Callable[..., SessionStore]) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.close()
    _empty(store.path(session_id))
    stranger = store.folder / "s_notes.jsonl"
    _empty(stranger)
    store = make_store()
    assert not store.path(session_id).exists() and stranger.exists()


@pytest.mark.parametrize("broken", ["write", "fdatasync"])
def test_a_session_that_cannot_begin_leaves_no_file(
    store: SessionStore, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> int:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(append_log.os, broken, full)
        with pytest.raises(Refusal) as refused:
            store.open_session(**CONSENT)
    assert refused.value.error == "disk" and refused.value.retry
    with store.lock:  # the writer has tidied up
        assert list(store.folder.glob("*.jsonl")) == []
    assert "No space left" in capsys.readouterr().err
    store.open_session(**CONSENT)


def test_a_damaged_line_in_the_middle_stops_nothing(
    make_store: Callable[..., SessionStore],
) -> None:
    store = make_store()
    session_id = store.open_session(**CONSENT).session_id
    store.append(session_id, make_batch(seq=0))
    store.close()
    damaged = [
        b'{"type":"batch"\xff\n',
        b'{"type":"batch","tab":7,"seq":[]}\n',
        b'{"type":"batch"}\n',
    ]
    path = store.path(session_id)
    path.write_bytes(path.read_bytes() + b"".join(damaged))
    store = make_store()
    assert store.append(session_id, make_batch(seq=0)).duplicate
    assert not store.append(session_id, make_batch(seq=1)).duplicate


def test_whatever_meets_the_writer_it_goes_on(
    store: SessionStore, opened: OpenedSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(session_id: str) -> None:
        raise RuntimeError("nobody thought of this")

    with monkeypatch.context() as patch:
        patch.setattr(store, "open_file", surprise)
        with pytest.raises(Refusal) as refused:
            store.submit(opened.session_id, make_batch()).result(10)
    assert refused.value.retry and "nobody thought of this" in str(refused.value)
    assert not store.submit(opened.session_id, make_batch()).result(10).duplicate


def test_a_model_that_is_dead_is_told_to_the_operator(
    store: SessionStore, opened: OpenedSession, capsys: pytest.CaptureFixture[str]
) -> None:
    dead = {"box": "A", "source": "", "model": "lab/model", "error": "unreachable"}
    store.append(opened.session_id, {**TURN, "kind": "pointwise", "responses": [dead]})
    assert "lab/model: unreachable" in capsys.readouterr().err
    assert store.watch.counts().troubles == {"model": 1}


@pytest.mark.parametrize("kept", ["", "short"])
def test_a_secret_that_was_never_written_is_made_anew(
    make_store: Callable[..., SessionStore], kept: str
) -> None:
    store = make_store()
    store.close()
    secret = store.folder / ".secret"
    secret.write_text(kept)
    opened = make_store().open_session(**CONSENT)
    assert len(secret.read_text()) == 64 and secret.stat().st_mode & 0o777 == 0o600
    assert opened.token


def test_two_servers_cannot_share_a_folder(store: SessionStore) -> None:
    with pytest.raises(ConfigError, match="another server writes there"):
        SessionStore(store.settings).start()


@pytest.mark.parametrize(
    "record",
    [
        {**TURN, "responses": [{"box": "C", "source": "x"}]},
        {**TURN, "address": "203.0.113.7"},
        {**RATING, "likert": {"A": 6}},
        {"type": "end"},
        {"type": "session"},
        {"type": "nothing"},
        {**TURN, "turn": True},
        {**TURN, "asked_epoch_ms": float("nan")},
        {**TURN, "asked_epoch_ms": float("inf")},
        {**TURN, "question": "a lone surrogate \ud800"},
    ],
)
def test_only_what_the_schema_says_is_stored(
    store: SessionStore, opened: OpenedSession, record: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as refused:
        store.append(opened.session_id, record)
    assert refused.value.error == "malformed" and not refused.value.retry
    assert len(lines_of(store, opened.session_id)) == 1


def test_second_first_line_is_refused(store: SessionStore, opened: OpenedSession) -> None:
    with pytest.raises(Refusal, match="one first line"):
        store.append(opened.session_id, lines_of(store, opened.session_id)[0])


def test_full_session_takes_no_more_batches(
    make_store: Callable[..., SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(session_bytes_max=900)
    session_id = store.open_session(**CONSENT).session_id
    refused = []
    for seq in range(8):
        try:
            store.append(session_id, make_batch(seq=seq))
        except Refusal as error:
            refused.append((error.error, error.status, error.retry))
    assert refused and set(refused) == {("full", 413, False)}
    assert (store.folder / f"{session_id}.jsonl").stat().st_size <= 900
    summary = {"text": "x" * 900, "understand_before": None, "understand_after": None}
    for _ in range(2):  # what tells of its end still fits, but not without end
        store.append(session_id, {"type": "summary", "at_epoch_ms": 1, **summary})
    monkeypatch.setattr("ifllm_hf.capture.server.store.ROOM_TO_FINISH", 2000)
    with pytest.raises(Refusal, match="takes no more"):
        store.append(session_id, {"type": "summary", "at_epoch_ms": 1, **summary})


@pytest.mark.parametrize("session_id", ["", "../x", "s_" + "/" * 22, "s_" + "a" * 21 + "\n", "s_a"])
def test_names_that_are_no_sessions_touch_nothing(store: SessionStore, session_id: str) -> None:
    before = sorted(store.folder.rglob("*"))
    with pytest.raises(Refusal):
        store.append(session_id, make_batch())
    assert not store.check_token(session_id, "0" * 64)
    assert sorted(store.folder.rglob("*")) == before


def test_session_that_is_not_here_may_come_back(store: SessionStore) -> None:
    with pytest.raises(Refusal) as refused:
        store.append(new_identity()[0], make_batch())
    assert refused.value.error == "missing" and refused.value.retry


def test_more_sessions_than_open_files(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.capture.server import session_folder
    from ifllm_hf.capture.server import store as module

    monkeypatch.setattr(session_folder, "_OPEN_FILES_MAX", 3)
    monkeypatch.setattr(module, "_GROUP_MAX", 2)
    ids = [store.open_session(**CONSENT).session_id for _ in range(8)]
    for seq in range(3):
        for session_id in ids:
            store.append(session_id, make_batch(seq=seq))
            assert store.append(session_id, make_batch(seq=seq)).duplicate
    assert len(store._files) <= 3
    assert all(len(lines_of(store, session_id)) == 4 for session_id in ids)


def test_nobody_takes_part_until_an_operator_says_so(
    make_store: Callable[..., SessionStore],
) -> None:
    for missing in ("contact", "legal_basis"):
        store = make_store(**{missing: ""})
        with pytest.raises(Refusal, match="Collection is off"):
            store.open_session(**CONSENT)
        assert store.sizes() == {}


def test_flood_of_new_sessions_is_held_back(make_store: Callable[..., SessionStore]) -> None:
    store = make_store(sessions_per_minute=2)
    store.open_session(**CONSENT)
    store.open_session(**CONSENT)
    with pytest.raises(Refusal) as refused:
        store.open_session(**CONSENT)
    assert refused.value.status == 429 and refused.value.retry_after_s


# --- identity and limits


class SlowHub:
    """A Hub that has one session and takes its time."""

    def __init__(self, file: Path) -> None:
        self.file, self.kept = file, file.read_bytes()
        self.asked, self.answers = threading.Event(), threading.Event()
        file.unlink()

    def restore(self, session_id: str) -> bool:
        self.asked.set()
        assert self.answers.wait(20)
        if session_id != self.file.stem:
            return False
        if not self.file.exists():
            self.file.write_bytes(self.kept)
        return True

    def close(self) -> None:
        """Nothing is pushed."""


def test_a_lost_session_keeps_nobody_waiting(
    make_store: Callable[..., SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = make_store().open_session(**CONSENT)
    store = make_store()  # started anew: no file is open
    other = store.open_session(**CONSENT)
    hub = SlowHub(store.folder / f"{ours.session_id}.jsonl")
    monkeypatch.setattr(store, "hub", hub)
    waiting = [store.submit(ours.session_id, make_batch(seq=k)) for k in range(3)]
    nowhere = store.submit(new_identity()[0], make_batch())
    assert hub.asked.wait(20)
    assert not store.append(other.session_id, make_batch()).duplicate
    assert not any(line.done() for line in waiting)
    hub.answers.set()
    assert not any(line.result(20).duplicate for line in waiting)
    with pytest.raises(Refusal, match="is not here"):
        nowhere.result(20)
    assert [line["seq"] for line in lines_of(store, ours.session_id)[1:]] == [0, 1, 2]
