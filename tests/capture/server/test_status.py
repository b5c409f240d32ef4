"""What the operator sees of the collection, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ifllm_hf.capture.server import SessionStore
from ifllm_hf.capture.server.status import status
from tests.helpers.capture.session_store import CONSENT, make_batch


def test_a_collection_in_rows(store: SessionStore) -> None:
    opened = store.open_session(**CONSENT)
    store.append(opened.session_id, make_batch())
    store.watch.stored(duplicate=False, events_refused={"focus: wrong type": 3})
    store.watch.refused("size", "a body of 9 bytes <b>")
    rows = dict(status(store))
    assert rows["sessions today"].startswith("1 of 1")
    assert (
        rows["batches stored"].startswith("1 ") and "focus: wrong type 3" in rows["events left out"]
    )
    assert rows["requests refused"] == "1; size 1"
    assert "9 bytes" in rows["last trouble"] and rows["free disk"].endswith("GB")
    assert rows["waiting reviews"].startswith("0 ") and "no Hub" in rows["last push"]


def test_a_collection_in_trouble_is_shown_all_the_same(
    make_store: Callable[..., SessionStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    store.open_session(**CONSENT)
    (store.folder / "reviews.csv").write_text("user_id,turn,decision,flags\nx,y,z,\n")

    def no_disk(path: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ifllm_hf.capture.server.status.shutil.disk_usage", no_disk)
    rows = dict(status(store))
    assert "reviews.csv" in rows["waiting reviews"] and "Input/output" in rows["free disk"]
    assert rows["last trouble"] == "none"
