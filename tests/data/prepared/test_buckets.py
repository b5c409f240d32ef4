"""Sessions in a bucket of the Hub, `hf://buckets/ORG/NAME`: read as from any other folder.

Writing to a bucket takes Xet, which the loopback hub does not speak.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import SourceError
from tests.helpers import loopback_hub
from tests.helpers.loopback_hub import HubError, LoopbackHub
from tests.helpers.made_up_sessions import write_sessions
from tests.helpers.ranks import content, in_ranks


class _Handler(loopback_hub._Handler):
    _BUCKET = r"/api/buckets/(?P<bucket>[^/]+/[^/]+)"
    ROUTES = (
        ("GET", _BUCKET, "bucket_info"),
        ("GET", _BUCKET + r"/tree(?:/(?P<path>.*))?", "bucket_tree"),
        ("POST", _BUCKET + r"/paths-info", "bucket_paths"),
        ("GET", r"/buckets/(?P<bucket>[^/]+/[^/]+)/resolve/(?P<path>.+)", "bucket_file"),
        *loopback_hub._Handler.ROUTES,
    )

    def _files(self, bucket: str) -> dict[str, bytes]:
        if bucket not in HubWithBuckets.buckets or not self._is_user():
            raise HubError(404, "RepoNotFound", f"no bucket {bucket}")
        return HubWithBuckets.buckets[bucket]

    def bucket_info(self, body: bytes, bucket: str) -> None:
        files = self._files(bucket)
        size = sum(map(len, files.values()))
        made = {"id": bucket, "private": True, "createdAt": loopback_hub._DATE}
        self.send_json({**made, "size": size, "totalFiles": len(files)})

    def bucket_tree(self, body: bytes, bucket: str, path: str | None) -> None:
        prefix = f"{path.rstrip('/')}/" if path else ""
        below = {n.removeprefix(prefix): n for n in self._files(bucket) if n.startswith(prefix)}
        folders = sorted({prefix + inner.split("/")[0] for inner in below if "/" in inner})
        entries: list[dict[str, object]] = [{"type": "directory", "path": n} for n in folders]
        files = [self._known(n, self._files(bucket)[n]) for i, n in below.items() if "/" not in i]
        self.send_json(entries + files)

    def bucket_paths(self, body: bytes, bucket: str) -> None:
        files = self._files(bucket)
        asked = json.loads(body)["paths"]
        self.send_json([self._known(name, files[name]) for name in asked if name in files])

    def bucket_file(self, body: bytes, bucket: str, path: str) -> None:
        files = self._files(bucket)
        if path not in files:
            raise HubError(404, "EntryNotFound", f"no file {path}")
        if (asked := self.headers.get("Range")) is None:
            self.send(200, files[path])
            return
        first, last = asked.removeprefix("bytes=").split("-")
        self.send(206, files[path][int(first) : int(last) + 1])

    @staticmethod
    def _known(path: str, data: bytes) -> dict[str, object]:
        xet = hashlib.sha256(data).hexdigest()
        return {"type": "file", "path": path, "size": len(data), "xetHash": xet}


class HubWithBuckets(LoopbackHub):
    handler = _Handler
    buckets: ClassVar[dict[str, dict[str, bytes]]] = {}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    from tests.conftest import _running

    monkeypatch.setattr(loopback_hub, "LoopbackHub", HubWithBuckets)
    yield from _running(monkeypatch)


@pytest.mark.parametrize("inner", ["", "/2026/sessions"])
def test_sessions_of_a_bucket(hub: LoopbackHub, tmp_path: Path, inner: str) -> None:
    truths = write_sessions(tmp_path / "sessions", 4, steps=6)
    (tmp_path / "sessions" / "withdrawn.txt").write_text(tombstone(truths[1].session_id) + "\n")
    prefix = inner.strip("/") + "/" if inner else ""
    HubWithBuckets.buckets = {
        "lab/raw": {prefix + n: data for n, data in content(tmp_path / "sessions").items()}
    }
    prepare(tmp_path / "sessions", tmp_path / "wanted", progress=False)
    in_ranks(f"hf://buckets/lab/raw{inner}", tmp_path / "out", 1)
    assert content(tmp_path / "out") == content(tmp_path / "wanted")


def test_a_bucket_that_is_not_shown_is_one_line(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HubWithBuckets.buckets = {"lab/hidden": {}}
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(SourceError, match=r"hf://buckets/lab/hidden: no session file.*HF_TOKEN"):
        prepare("hf://buckets/lab/hidden", tmp_path / "out", progress=False)
