"""A code deletes its session here for good; wrong codes are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_space.server import OpenedSession, Refusal, SessionStore
from ifllm_space.server.identity import new_identity
from tests.helpers.spaces.session_store import CONSENT, make_batch

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
        monkeypatch.setattr("ifllm_hf.data.sessions.collected.PUBLISH", None)
    monkeypatch.setattr("ifllm_space.server.withdrawal.session_id_of", lambda code: code)
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
