"""Fetching the release from a server that misbehaves in every usual way."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import ifllm_hf.data.raw.download as download
from ifllm_hf import retry
from ifllm_hf.data.raw.download import fetch_release
from ifllm_hf.data.raw.release_source import TABLES, open_source
from ifllm_hf.errors import DownloadError
from ifllm_hf.files import write_json
from tests.helpers.loopback import Loopback, Request


def release(salt: bytes = b"") -> bytes:
    out = io.BytesIO()
    noise = random.Random(3).randbytes(300_000) + salt
    names = [f"top/dataset/{name}" for name in TABLES]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in [*names, "top/dataset/user_behavior/worker_a/1/abs_gaze.csv"]:
            info = tarfile.TarInfo(name)
            info.size = len(noise)
            tar.addfile(info, io.BytesIO(noise))
    return out.getvalue()


BODY = gzip.compress(release(), mtime=0)


@pytest.fixture(scope="module")
def digest(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("digest") / "release"
    path.write_bytes(BODY)
    return open_source(path).fingerprint()


class Server(Loopback):
    """Serves `body` with Range and If-Range; notes status and range of each request."""

    path = "/release.tar.gz"
    body = BODY
    etag: str | None = '"one"'

    def answer(self, request: Request) -> None:
        asked = request.headers.get("Range")
        act, _, detail = self.mishap().partition(" ")
        body, start = self.body, 0
        status = 200
        if act.isdecimal():
            status, body = int(act), b"no"
        elif asked and act != "no-range":
            unchanged = request.headers["If-Range"] == self.etag or act == "no-if-range"
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if unchanged else 0
            status = 206 if unchanged else 200
            if start >= len(body):
                status = 416
        self.requests.append((status, asked))
        sent = b"" if status == 416 else body[start:]
        headers: dict[str, str | None] = {"Content-Length": str(len(sent)), "ETag": self.etag}
        if status == 206:
            first = start + int(detail or 0) if act == "shifted" else start
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        if status == 416:
            headers["Content-Range"] = f"bytes */{len(body)}"
        if act.isdecimal() and detail:
            headers["Retry-After"] = detail
        if act == "no-length":
            headers |= {"Content-Length": None, "Connection": "close"}
        if act in ("cut", "no-length"):
            sent = sent[: int(detail)]
            request.close_connection = True
        request.send(status, sent, headers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HF_HUB_OFFLINE", "IFLLM_RELEASE_URL", "IFLLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    with Server() as running:
        yield running


class Fetch:
    """`fetch_release` from the server into a cache of the test."""

    def __init__(self, server: Server, cache: Path, digest: str) -> None:
        self.server, self.cache, self.digest = server, cache, digest

    def __call__(self, **changes: Any) -> Path:
        given = {"cache_dir": self.cache, "expected_digest": self.digest, "progress": False}
        return fetch_release(self.server.url, **{**given, **changes})

    def left(self, suffix: str = "") -> list[Path]:
        return sorted(path for path in self.cache.glob(f"*{suffix}") if path.suffix != ".lock")


@pytest.fixture
def fetch(server: Server, tmp_path: Path, digest: str) -> Fetch:
    return Fetch(server, tmp_path / "cache", digest)


def test_it_is_fetched_once(server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch()
    assert path.read_bytes() == BODY
    assert fetch.left() == [path, path.with_suffix(".json")]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(download, "open_source", None)  # checking again would need it
    assert fetch() == path
    assert fetch(expected_sha256=hashlib.sha256(BODY).hexdigest()) == path
    assert server.requests == [(200, None)]


def test_a_broken_download_is_resumed(server: Server, fetch: Fetch) -> None:
    server.mishaps.extend(["cut 100000", "cut 50000"])
    assert fetch().read_bytes() == BODY
    assert server.requests == [(200, None), (206, "bytes=100000-"), (206, "bytes=150000-")]


@pytest.mark.parametrize(
    ("second", "statuses"),
    [
        ("no-range", [200, 200]),
        ("shifted 1", [200, 206, 200]),
    ],
)
def test_a_server_that_will_not_resume(
    server: Server, fetch: Fetch, second: str, statuses: list[int]
) -> None:
    server.mishaps.extend(["cut 100000", second])
    assert fetch().read_bytes() == BODY
    assert [status for status, _ in server.requests] == statuses


@pytest.mark.parametrize("misbehaviour", ["", "no-if-range"])
def test_a_file_that_changed_meanwhile_starts_anew(
    server: Server, fetch: Fetch, misbehaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = gzip.compress(release(), compresslevel=1, mtime=0)
    server.etag = '"zero"'
    interrupt_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        fetch()
    monkeypatch.undo()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    server.body, server.etag = BODY, '"one"'
    server.mishaps.append(misbehaviour)
    assert fetch().read_bytes() == BODY


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_tag_nothing_is_joined(
    server: Server, fetch: Fetch, etag: str | None
) -> None:
    server.etag = etag
    server.mishaps.append("cut 100000")
    assert fetch().read_bytes() == BODY
    assert server.requests == [(200, None), (200, None)]


def interrupt_after(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def write(file: Any, chunk: bytes) -> None:
        nonlocal count
        count += 1
        if count > chunks:
            raise KeyboardInterrupt
        file.write(chunk)

    monkeypatch.setattr(download, "_write", write)


def test_ctrl_c_leaves_a_part_that_is_resumed(server: Server, fetch: Fetch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(2, patch)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    (part,) = fetch.left(".part")
    size = part.stat().st_size
    assert 0 < size < len(BODY)
    assert fetch().read_bytes() == BODY
    assert server.requests == [(200, None), (206, f"bytes={size}-")]
    assert not fetch.left(".part")


def test_ctrl_c_while_checking_needs_no_network(
    server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "open_source", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch()
    assert fetch().read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_part_that_is_complete_or_too_long(server: Server, fetch: Fetch) -> None:
    for extra, requests in ((b"", 1), (b"more", 2)):
        path = fetch()
        part = path.with_suffix(".part")
        path.rename(part)
        part.write_bytes(part.read_bytes() + extra)
        state = {"url_sha256": hashlib.sha256(server.url.encode()).hexdigest()}
        write_json(download._state_file(part), {**state, "validator": server.etag})
        server.requests.clear()
        assert fetch().read_bytes() == BODY
        assert len(server.requests) == requests
        assert server.requests[0] == (416, f"bytes={len(BODY + extra)}-")
        path.unlink()


def test_busy_and_failing_servers_are_asked_again(server: Server, fetch: Fetch) -> None:
    server.mishaps.extend(["429 0", "503", "500", "cut 0"])
    assert fetch().read_bytes() == BODY
    assert [status for status, _ in server.requests] == [429, 503, 500, 200, 200]


def test_retry_after_is_obeyed_up_to_a_minute(
    server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.mishaps.extend(["429 7", "429 100000"])
    fetch()
    assert waits == [7, 60]


def test_it_gives_up_in_the_end_but_keeps_the_part(server: Server, fetch: Fetch) -> None:
    server.mishaps.extend(["cut 100000"] + ["500"] * 20)
    with pytest.raises(DownloadError, match=r"HTTP 500, 5 times.*100000 bytes are kept"):
        fetch()
    assert len(server.requests) == 6
    server.mishaps.clear()
    assert fetch().read_bytes() == BODY
    assert server.requests[-1] == (206, "bytes=100000-")


def test_an_answer_that_will_not_change_is_final(server: Server, fetch: Fetch) -> None:
    server.mishaps.append("404")
    with pytest.raises(DownloadError, match="HTTP 404. Expected"):
        fetch()
    assert len(server.requests) == 1


def test_no_server_and_no_address(fetch: Fetch, tmp_path: Path, server: Server) -> None:
    server.url = "http://user:secret@127.0.0.1:9/x?token=secret"
    with pytest.raises(DownloadError, match="http://127.0.0.1:9/x: .*5 times") as error:
        fetch()
    assert "secret" not in str(error.value)
    for url in ("ftp://example.org/x", str(tmp_path), "http://["):
        server.url = url
        with pytest.raises(DownloadError, match="http or https"):
            fetch()


def test_other_content_is_put_aside(server: Server, fetch: Fetch, digest: str) -> None:
    server.body = gzip.compress(release(b"!"))
    with pytest.raises(DownloadError, match=rf"content digest is \w+. Expected {digest}"):
        fetch()
    (bad,) = fetch.left()
    assert (bad.suffix, bad.read_bytes()) == (".bad", server.body)
    server.body = BODY
    assert fetch().read_bytes() == BODY


@pytest.mark.parametrize("body", [b"<html>sorry</html>", BODY[:200_000], release()[:-12_000]])
def test_what_is_no_whole_release_is_put_aside(server: Server, fetch: Fetch, body: bytes) -> None:
    server.body = body
    with pytest.raises(DownloadError, match="not usable"):
        fetch(expected_digest=None)
    assert [path.suffix for path in fetch.left()] == [".bad"]


def test_a_cut_that_the_protocol_hides_is_found(server: Server, fetch: Fetch) -> None:
    server.mishaps.append("no-length 250000")
    with pytest.raises(DownloadError, match="truncated"):
        fetch()
    server.mishaps.append(f"no-length {len(BODY)}")
    assert fetch().read_bytes() == BODY


def test_the_sum_of_the_file_is_checked_if_given(fetch: Fetch) -> None:
    with pytest.raises(DownloadError, match="sha256 is .* Expected 00"):
        fetch(expected_sha256="00")
    assert [path.suffix for path in fetch.left()] == [".bad"]


def test_another_packing_of_the_same_content_will_do(server: Server, fetch: Fetch) -> None:
    server.body = lzma.compress(release(), preset=0)
    assert fetch().read_bytes() == server.body


def test_a_file_changed_in_the_cache_is_not_trusted(server: Server, fetch: Fetch) -> None:
    path = fetch()
    os.utime(path, (1, 1))
    assert fetch() == path
    assert len(server.requests) == 1
    path.write_bytes(BODY[:-1])
    assert fetch().read_bytes() == BODY
    assert len(server.requests) == 2
    path.with_suffix(".json").write_text("[]")
    assert fetch() == path
    assert len(server.requests) == 2


def test_offline_is_respected(
    server: Server, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE is set"):
        fetch()
    assert not server.requests


def test_a_disk_that_fills_up(fetch: Fetch) -> None:
    def write(file: Any, chunk: bytes) -> None:
        file.write(chunk[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download, "_write", write)
        with pytest.raises(DownloadError, match="the disk is full"):
            fetch()
    assert not fetch.left()
    assert fetch().read_bytes() == BODY


def test_a_disk_that_fills_up_with_the_state(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DownloadError, match="the disk is full"):
        fetch()
    assert not fetch.left()


def test_a_disk_that_would_fill_up(fetch: Fetch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 4, 5))
        with pytest.raises(DownloadError, match=f"5 bytes .*{len(BODY)}"):
            fetch()
    assert not fetch.left(".archive")


def test_a_cache_that_cannot_be_written(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch()


def test_two_at_once_download_once(server: Server, fetch: Fetch) -> None:
    with ThreadPoolExecutor(2) as pool:
        paths = [future.result() for future in [pool.submit(fetch) for _ in range(2)]]
    assert paths[0] == paths[1]
    assert len(server.requests) == 1


def test_places_come_from_the_environment(
    server: Server, digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IFLLM_RELEASE_URL", server.url)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    seen = [fetch_release(expected_digest=digest, progress=False)]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    seen.append(fetch_release(expected_digest=digest, progress=False))
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "own"))
    seen.append(fetch_release(expected_digest=digest, progress=False))
    folders = [tmp_path / "home" / ".cache" / "ifllm", tmp_path / "xdg" / "ifllm", tmp_path / "own"]
    assert [path.parent for path in seen] == folders


def test_progress_is_drawn_on_stderr(fetch: Fetch, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "IFLLM release: 100%" in err
    assert "Checking" in err
