"""Fetch the pinned public release once, and keep it in a cache.

GitHub makes its archives anew now and then, so the checksum of the file may change while the
release does not. What is pinned is the digest of the release's files (`Source.fingerprint`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ifllm_hf.data.raw.release_source import open_source
from ifllm_hf.errors import DownloadError, OutputError, SourceError
from ifllm_hf.files import cache_folder, digest, write_json
from ifllm_hf.progress import progress_bar
from ifllm_hf.retry import TryAgain, pause_s, retry_after_s

if TYPE_CHECKING:
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)

REPOSITORY = "themehulpatwari/llm-implicit-feedback"
COMMIT = "923bac0d194a9ec13ebd712df2e217aaebb82134"
RELEASE_URL = f"https://codeload.github.com/{REPOSITORY}/tar.gz/{COMMIT}"
RELEASE_DIGEST = "52497a4300423d903c3a61871b61b4c16935ed97680dce0d7fcd8b08fb1a3230"

_ATTEMPTS_WITHOUT_PROGRESS = 5
_BY_HAND = "or get the release by hand and give its path (SOURCE, or $IFLLM_RELEASE)"


def fetch_release(
    url: str | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
    expected_digest: str | None = RELEASE_DIGEST,
    expected_sha256: str | None = None,
    progress: bool = True,
) -> Path:
    """Return the release as an archive in the cache, downloading it if it is not there yet.

    A broken download is taken up where it stopped, if the server allows that. A file that was
    checked once is not checked again until its size or time changes. Processes that fetch at
    the same time wait for each other.

    Args:
        url: Where to get it; default `$IFLLM_RELEASE_URL`, else the pinned archive on GitHub.
        cache_dir: Default `$IFLLM_CACHE`, else `$XDG_CACHE_HOME/ifllm`, else `~/.cache/ifllm`.
        expected_digest: What `Source.fingerprint` must give; None takes any whole release.
        expected_sha256: What the sha256 of the archive itself must be, if that matters.
        progress: Draw progress bars on stderr.

    Returns:
        Path of the archive, for `open_source`.

    Raises:
        DownloadError: No network or `HF_HUB_OFFLINE`, an answer that will not get better, a full
            disk, or other content than expected; that is kept beside as `.bad` and never used.
    """
    url = url or os.environ.get("IFLLM_RELEASE_URL") or RELEASE_URL
    folder = cache_folder(cache_dir)
    key = expected_digest or digest(url)
    target = folder / f"release-{key[:16]}.archive"
    part = target.with_suffix(".part")
    if _is_verified(target, expected_digest, expected_sha256):
        return target
    with _disk_errors(folder, part):
        folder.mkdir(parents=True, exist_ok=True)
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        with WeakFileLock(target.with_suffix(".lock")):
            if _is_verified(target, expected_digest, expected_sha256):
                return target
            if target.exists():
                try:
                    _verify(target, target, expected_digest, expected_sha256, progress)
                    return target
                except DownloadError as error:
                    logger.warning("%s Downloading it again.", error)
            _download(url, part, progress)
            _verify(part, target, expected_digest, expected_sha256, progress)
    return target


def _is_verified(target: Path, digest: str | None, sha256: str | None) -> bool:
    """Whether the marker beside the file says that just this file was checked."""
    mark = _read_json(target.with_suffix(".json"))
    try:
        now = target.stat()
    except OSError:
        return False
    return (
        (mark.get("size"), mark.get("mtime_ns")) == (now.st_size, now.st_mtime_ns)
        and digest in (None, mark.get("digest"))
        and sha256 in (None, mark.get("sha256"))
    )


def _verify(
    found: Path, target: Path, digest: str | None, sha256: str | None, progress: bool
) -> None:
    """Check a file, move it to its place and mark it; or move it aside and raise."""
    with open(found, "rb") as file:
        seen_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    trouble = None
    seen_digest = None
    if sha256 is not None and seen_sha256 != sha256:
        trouble = f"sha256 is {seen_sha256}. Expected {sha256}"
    else:
        try:
            with open_source(found) as source:
                with contextlib.closing(source.conversations()) as walk:
                    unit = " conversations"
                    with progress_bar(None, "Checking", progress, unit=unit, leave=True) as bar:
                        for _ in walk:
                            bar.update()
                seen_digest = source.fingerprint()
        except SourceError as error:
            trouble = f"not usable: {error} Expected a release"
        else:
            if digest is not None and seen_digest != digest:
                trouble = f"content digest is {seen_digest}. Expected {digest}"
    if trouble is not None:
        bad = target.with_suffix(".bad")
        os.replace(found, bad)
        _state_file(found).unlink(missing_ok=True)
        raise DownloadError(
            f"{bad}: {trouble}; it was put aside and is not used. Try again later, {_BY_HAND}."
        )
    os.replace(found, target)
    now = target.stat()
    mark = {"size": now.st_size, "mtime_ns": now.st_mtime_ns}
    write_json(target.with_suffix(".json"), {**mark, "digest": seen_digest, "sha256": seen_sha256})
    if found != target:
        _state_file(found).unlink(missing_ok=True)


def _download(url: str, part: Path, progress: bool) -> None:
    """Fill `part` from the URL, with as many attempts as there is progress."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise DownloadError(
            f"{part.parent}: the release is not in the cache and HF_HUB_OFFLINE is set. Expected"
            f" to download {_shown(url)}; unset HF_HUB_OFFLINE, {_BY_HAND}."
        )
    if not re.match(r"https?://[^/]", _shown(url)):
        raise _no_web_address(url, "cannot be downloaded from")
    # The client that the hub itself uses; which package that is has changed before.
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    furthest = failures = 0
    timeout = httpx.Timeout(60.0, connect=15.0)
    with httpx.Client(follow_redirects=True, timeout=timeout) as client:
        while True:
            try:
                return _download_rest(client, url, part, progress)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise _no_web_address(url, str(error)) from error
            except (httpx.TransportError, TryAgain) as error:
                reached = part.stat().st_size if part.exists() else 0
                failures = 0 if reached > furthest else failures + 1
                furthest = max(furthest, reached)
                if failures >= _ATTEMPTS_WITHOUT_PROGRESS:
                    raise DownloadError(
                        f"{_shown(url)}: {error or type(error).__name__}, {failures} times without"
                        f" progress; {reached} bytes are kept. Expected an archive; check the"
                        f" network and run the same again to go on, {_BY_HAND}."
                    ) from error
                wait_s = pause_s(failures, getattr(error, "wait_s", None))
                logger.info("%s: %s; trying again in %.1f s", _shown(url), error, wait_s)
                time.sleep(wait_s)


def _download_rest(client: httpx.Client, url: str, part: Path, progress: bool) -> None:
    """Ask once for what is missing in `part`, or for everything if the server will not resume."""
    # Parts of two archives must never be joined: without a validator there is no resuming.
    state = _read_json(_state_file(part))
    of_url = {"url_sha256": digest(url)}
    validator = state.get("validator") if state.items() >= of_url.items() else None
    have = part.stat().st_size if part.exists() else 0
    if have and state == {**of_url, "validator": validator, "complete": have}:
        return  # only the check was missing
    if not validator:
        have = 0
    # The bytes must come as they are in the file, not packed once more on the way.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(validator)}
    with client.stream("GET", url, headers=headers) as answer:
        status = answer.status_code
        span = re.fullmatch(
            r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "")
        )
        if have and status == 416 and span and span[2] == str(have):
            return  # everything was there already
        fits = span is not None and span[1] == str(have)
        changed = _validator(answer) not in (None, validator)
        if have and (status == 416 or (status == 206 and (changed or not fits))):
            part.unlink()
            raise TryAgain(f"cannot go on from byte {have} (HTTP {status})")
        if status in (408, 429) or status >= 500:
            raise TryAgain(f"answered HTTP {status}", retry_after_s(answer.headers))
        if status not in (200, 206) or (status == 206 and not have):
            raise DownloadError(
                f"{_shown(url)}: the server answered HTTP {status}. Expected the archive; check"
                f" the URL, {_BY_HAND}."
            )
        if status == 200:
            have = 0
        length = answer.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() else None
        _check_space(part, total, have)
        with open(part, "ab" if have else "wb") as file:
            state = {**of_url, "validator": _validator(answer) or (validator if have else None)}
            write_json(_state_file(part), state)
            bar = progress_bar(
                total,
                "IFLLM release",
                progress,
                initial=have,
                unit="B",
                unit_scale=True,
                leave=True,
            )
            with bar:
                for chunk in answer.iter_raw():
                    _write(file, chunk)
                    bar.update(len(chunk))
    reached = part.stat().st_size
    if total is not None and reached != total:
        raise TryAgain(f"sent {reached} of {total} bytes")
    write_json(_state_file(part), {**state, "complete": reached})


def _write(file: Any, chunk: bytes) -> None:
    file.write(chunk)


def _validator(answer: httpx.Response) -> str | None:
    """What proves in a later request that the file is still the same; weak tags do not."""
    tag: str = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    modified: str | None = answer.headers.get("Last-Modified")
    return modified


def _check_space(part: Path, total: int | None, have: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if total is not None and free < total - have:
        raise DownloadError(
            f"{part.parent}: {free} bytes are free. Expected room for {total - have} more; make"
            " room, or set IFLLM_CACHE to a folder on another disk."
        )


@contextlib.contextmanager
def _disk_errors(folder: Path, part: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, OutputError) as failed:
        error = failed if isinstance(failed, OSError) else failed.__cause__
        assert isinstance(error, OSError)
        what = f"cannot be written ({error.strerror or error})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            part.unlink(missing_ok=True)
            _state_file(part).unlink(missing_ok=True)
            what = "the disk is full; what had been downloaded was removed"
        raise DownloadError(
            f"{folder}: {what}. Expected a folder with room for the release; make room, or set"
            " IFLLM_CACHE to another folder."
        ) from error


def _state_file(part: Path) -> Path:
    return part.with_suffix(".part.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _no_web_address(url: str, seen: str) -> DownloadError:
    return DownloadError(
        f"{_shown(url)}: {seen}. Expected an http or https address of an archive; correct the"
        f" URL, {_BY_HAND}."
    )


def _shown(url: str) -> str:
    """The URL without user, password and query, which may hold a secret."""
    try:
        pieces = urlsplit(url)
    except ValueError:
        return "the URL"
    host = pieces.netloc.rpartition("@")[2]
    return pieces._replace(netloc=host, query="", fragment="").geturl()
