"""Files that lie elsewhere, by name: `s3://`, `hf://`, `memory://`, whatever fsspec opens."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, total_ordering, wraps
from pathlib import Path, PurePosixPath
from typing import Any, Concatenate, ParamSpec, TypeVar

from ifllm_hf.errors import RemoteError

_CREDENTIALS = {
    "hf": "run `hf auth login`, or set $HF_TOKEN",
    "s3": "set $AWS_ACCESS_KEY_ID and $AWS_SECRET_ACCESS_KEY, or $AWS_PROFILE",
    "gs": "set $GOOGLE_APPLICATION_CREDENTIALS",
    "abfs": "set $AZURE_STORAGE_CONNECTION_STRING",
}
_HERE = ("file", "local")  # what fsspec calls this machine
_FIRST_BYTES = 2**14  # a session's first line is a kilobyte

_P = ParamSpec("_P")
_R = TypeVar("_R")


def is_remote(place: object) -> bool:
    """Tell whether a place is named by a URL that fsspec opens.

    A download (`https://`) is none, and `file://` names a place here.

    >>> is_remote("s3://bucket/sessions"), is_remote("https://a.org/b.zip"), is_remote("a/b")
    (True, False, False)
    """
    protocol, found, _ = str(place).partition("://")
    return bool(found) and protocol not in ("http", "https", *_HERE)


def local_path(place: str | os.PathLike[str]) -> Path:
    """Return a place of this machine as a path.

    >>> local_path("file:///data/out").as_posix(), local_path("file").as_posix()
    ('/data/out', 'file')
    """
    protocol, found, path = str(place).partition("://")
    return Path(path if found and protocol in _HERE else place)


def place_of(place: str | os.PathLike[str] | RemotePath) -> Place:
    """Return a folder or file by its name, here or elsewhere."""
    if isinstance(place, RemotePath):
        return place
    return RemotePath(str(place)) if is_remote(place) else local_path(place)


def _in_words(
    method: Callable[Concatenate[RemotePath, _P], _R],
) -> Callable[Concatenate[RemotePath, _P], _R]:
    """Let FileNotFoundError pass, and say all else in one line."""

    @wraps(method)
    def said(self: RemotePath, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except (FileNotFoundError, RemoteError):
            raise
        except Exception as error:  # each store has errors of its own
            raise RemoteError(f"{self}: {_why(error, self.protocol)}") from error

    return said


@total_ordering
class RemotePath:
    """A folder or file that a URL names, with those methods of `Path` that we use.

    What is read is what lies there now: nothing that fsspec remembers of it is trusted.

    Raises (every method):
        RemoteError: The store cannot be reached, refuses, or needs a package that is not installed.
    """

    def __init__(self, url: str) -> None:
        """Take a URL, such as `hf://datasets/ORG/NAME`."""
        self.url = url.rstrip("/")
        if "://" not in self.url:  # without its end it would be a file here
            raise RemoteError(f"{url}: names no folder; expected one such as {url}lab/sessions.")

    def __str__(self) -> str:
        """Return the URL."""
        return self.url

    def __repr__(self) -> str:
        """Return how to make it."""
        return f"RemotePath({self.url!r})"

    def __eq__(self, other: object) -> bool:
        """Compare URLs."""
        return isinstance(other, RemotePath) and self.url == other.url

    def __lt__(self, other: RemotePath) -> bool:
        """Compare URLs."""
        return self.url < other.url

    def __hash__(self) -> int:
        """Hash the URL."""
        return hash(self.url)

    def __truediv__(self, name: str) -> RemotePath:
        """Return what lies under this folder."""
        return RemotePath(f"{self.url}/{name}")

    @property
    def protocol(self) -> str:
        """What stands before `://`."""
        return self.url.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return PurePosixPath(self.url).name

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return PurePosixPath(self.url).stem

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        return url_to_fs(self.url)  # type: ignore[no-any-return]

    @_in_words
    def sizes(self) -> dict[str, int | None]:
        """Return the bytes of the files right in this folder, by name; empty if it is none."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        try:
            found = fs.ls(path, detail=True)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return {
            PurePosixPath(entry["name"]).name: entry.get("size")
            for entry in found
            if entry["type"] == "file"
        }

    @_in_words
    def names(self) -> list[str]:
        """Return the names of files and folders right in this folder; none if it is not there."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        try:
            return sorted(PurePosixPath(name).name for name in fs.ls(path, detail=False))
        except FileNotFoundError:
            return []

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yield the files right in this folder whose names fit."""
        yield from (self / name for name in self.sizes() if fnmatch.fnmatchcase(name, pattern))

    def is_dir(self) -> bool:
        """Tell whether anything lies in it: stores know no empty folders."""
        return bool(self.names())

    @_in_words
    def exists(self) -> bool:
        """Tell whether there is such a file or folder."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        return bool(fs.exists(path))

    @_in_words
    def read_bytes(self) -> bytes:
        """Return the content of a file."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        content: bytes = fs.cat_file(path)
        return content

    def read_text(self, encoding: str) -> str:
        """Return the text of a file."""
        return self.read_bytes().decode(encoding)

    @_in_words
    def read_line(self) -> bytes:
        """Return the first line of a file, without reading all of it."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        with fs.open(path, "rb", block_size=_FIRST_BYTES) as file:
            line: bytes = file.readline()
        return line

    @_in_words
    def open_file(self) -> Any:
        """Open a file to read parts of it: what is asked for is fetched, and no more."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        return fs.open(path, "rb", cache_type="none")

    @_in_words
    def put(self, file: Path) -> None:
        """Write a file that lies here."""
        fs, path = self._opened
        with self._there():
            fs.makedirs(fs._parent(path), exist_ok=True)
            fs.put_file(str(file), path)

    @_in_words
    def write_bytes(self, content: bytes) -> None:
        """Write a file."""
        fs, path = self._opened
        with self._there():
            fs.makedirs(fs._parent(path), exist_ok=True)
            fs.pipe_file(path, content)

    @contextmanager
    def _there(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise RemoteError(
                f"{self}: cannot be written, the bucket or repository is not there ({error}). Make "
                f"it first, or {credentials(self.protocol)}."
            ) from error

    @_in_words
    def remove(self) -> None:
        """Delete the file or folder, if it is there."""
        fs, path = self._opened
        fs.invalidate_cache(path)
        with suppress(FileNotFoundError):
            fs.rm(path, recursive=True)


Place = Path | RemotePath
"""A folder or file, here or elsewhere."""


def credentials(protocol: str) -> str:
    """Return what to set so that a store knows who is asking."""
    return _CREDENTIALS.get(protocol, f"see how fsspec is told who you are for {protocol}://")


def hint(place: Place) -> str:
    """Return what to try where nothing was found: a store hides what is private."""
    if not isinstance(place, RemotePath):
        return ""
    return f" (what is private shows nothing without credentials: {credentials(place.protocol)})"


def _why(error: Exception, protocol: str) -> str:
    said = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    if isinstance(error, ImportError):
        return f"needs a package that is not installed ({said})."
    if isinstance(error, ValueError) and "Protocol not known" in said:
        return "is a kind of place that fsspec does not know. Correct what stands before ://."
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    status = getattr(getattr(error, "response", None), "status_code", None)
    refused = "Credential" in kinds or "Token" in kinds or isinstance(error, PermissionError)
    if refused or status in (401, 403):
        return f"no credentials, or not the right ones ({said}); {credentials(protocol)}."
    return f"the store answered {type(error).__name__}: {said}. Check the name and the network."
