"""The members of a folder, tar or zip, one at a time and without unpacking to disk.

An archive comes from a stranger: names and links that point outside it, devices, and members
too big to be true are refused, and an end that came too early is an error, never a short result.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import posixpath
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from ifllm_hf.errors import SourceError

MAX_MEMBER_BYTES = 1 << 30
"""No file of a release comes near this; a member that claims more is taken for an attack."""

_CHUNK_BYTES = 1 << 20
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, struct.error),
    *(EOFError, OSError, ValueError, OverflowError, IndexError, RuntimeError),
)


class Member(NamedTuple):
    """One file of an archive or folder.

    Attributes:
        path: Relative path with `/`, without `.` parts.
        kind: `file`, `link`, or `special` (anything else that has no plain content).
        size: Bytes of the content.
        read: Returns the content; only valid until the next member is asked for.
    """

    path: str
    kind: Literal["file", "link", "special"]
    size: int
    read: Callable[[], bytes]


Members = Callable[[], Generator[Member, None, None]]
"""Starts a fresh walk over all members, from the first one on."""


def archive_members(path: Path) -> Members:
    """Find out by its first bytes what kind of archive a file is.

    Args:
        path: A .zip, or a .tar that is plain or packed with gzip, xz or bzip2, under any name.

    Returns:
        A function that starts a walk over the members.

    Raises:
        SourceError: The file cannot be read or is none of these.
    """
    with _reading(path), open(path, "rb") as file:
        head = file.read(512)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return partial(_zip_members, path)
    if head.startswith(b"\x1f\x8b"):
        return partial(_tar_members, path, gzip.open)
    if head.startswith(b"\xfd7zXZ\x00"):
        return partial(_tar_members, path, lzma.open)
    if head.startswith(b"BZh"):
        return partial(_tar_members, path, bz2.open)
    if head[257:262] == b"ustar":
        return partial(_tar_members, path, None)
    raise SourceError(
        f"{path}: not an archive, it begins with {head[:16]!r} and has {path.stat().st_size} bytes."
        " Expected the release as a folder, .tar, .tar.gz, .tar.xz or .zip;"
        " if it was downloaded, the server may have sent an error page: download it again."
    )


def folder_members(root: Path) -> Generator[Member, None, None]:
    """Walk a release folder: the files in it, then `user_behavior/<user>/<task>/*`, sorted.

    Links are followed, since the folder is the user's own. Other folders are not entered; each
    comes as one member of kind `special` with a `/` at the end, so that it can be counted.
    """
    yield from _walk(root, ())


def _walk(folder: Path, parts: tuple[str, ...]) -> Generator[Member, None, None]:
    with _reading(folder), os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
        files = [entry for entry in entries if not entry.is_dir()]
        folders = [entry for entry in entries if entry.is_dir()]
    for entry in files:
        path = "/".join((*parts, entry.name))
        if not entry.is_file():
            yield Member(path, "special", 0, bytes)
            continue
        with _reading(entry.path):
            size = entry.stat().st_size
        yield Member(path, "file", size, partial(_read_file, entry.path))
    for entry in folders:
        inner = (*parts, entry.name)
        if inner[0] == "user_behavior" and len(inner) <= 3:
            yield from _walk(Path(entry.path), inner)
        else:
            yield Member("/".join((*inner, "")), "special", 0, bytes)


def _read_file(path: str) -> bytes:
    with _reading(path), open(path, "rb") as file:
        return file.read()


class _ForwardReader:
    """What `tarfile` needs of a file, on a stream that only goes forward, in bounded pieces."""

    def __init__(self, stream: IO[bytes], archive: Path) -> None:
        self._stream = stream
        self._archive = archive
        self._position = 0
        self.last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int) -> int:
        if offset < self._position:
            raise tarfile.ReadError(f"a header points backwards, from {self._position} to {offset}")
        while self._position < offset and self.read(min(_CHUNK_BYTES, offset - self._position)):
            pass
        return self._position

    def read(self, size: int) -> bytes:
        # A size is what an untrusted header claims; memory grows only with bytes that came.
        _check_size("a header", size, self._archive)
        data = self._stream.read(min(size, _CHUNK_BYTES))
        if len(data) == _CHUNK_BYTES:
            pieces = [data]
            missing = size - len(data)
            while missing and (piece := self._stream.read(min(missing, _CHUNK_BYTES))):
                pieces.append(piece)
                missing -= len(piece)
            data = b"".join(pieces)
        self._position += len(data)
        self.last = data
        return data


def _tar_members(
    path: Path, unpack: Callable[[IO[bytes]], Any] | None
) -> Generator[Member, None, None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(_reading(path))
        file: IO[bytes] = stack.enter_context(open(path, "rb"))
        if unpack is not None:
            file = stack.enter_context(unpack(file))
        reader = _ForwardReader(file, path)
        tar = stack.enter_context(tarfile.TarFile(fileobj=cast(IO[bytes], reader), mode="r"))
        while (info := tar.next()) is not None:
            # tarfile would keep every header it has seen.
            tar.members.clear()  # type: ignore[attr-defined]
            name = _safe_path(info.name, path)
            _check_size(name, info.size, path)
            if info.isdir():
                continue
            if info.ischr() or info.isblk() or info.isfifo():
                raise _unsafe(path, info.name, "is a device or pipe")
            if info.issym() or info.islnk():
                _check_link(info.name, info.linkname, info.issym(), path)
                yield Member(name, "link", 0, bytes)
            elif info.isreg() and not info.issparse():
                yield Member(name, "file", info.size, partial(_read_tar, reader, info, path))
            else:
                yield Member(name, "special", info.size, bytes)
        _check_tar_end(reader)


def _read_tar(reader: _ForwardReader, info: tarfile.TarInfo, archive: Path) -> bytes:
    with _reading(archive):
        reader.seek(info.offset_data)
        data = reader.read(info.size)
        if len(data) != info.size:
            raise EOFError(f"ends inside {info.name!r}, after {len(data)} of {info.size} bytes")
        return data


def _check_tar_end(reader: _ForwardReader) -> None:
    """Demand two zero blocks, then zeros up to the end of the file.

    `tarfile` itself takes a damaged header, or no more bytes, for a normal end. Reading to the
    end also lets the decompressor compare its checksum.
    """
    zeros = 0
    block = reader.last if len(reader.last) == tarfile.BLOCKSIZE else b""
    while block:
        if block.count(0) != len(block):
            raise EOFError(f"damaged near byte {reader.tell()} of the unpacked tar")
        zeros += len(block)
        block = reader.read(1 << 16)
    if zeros < 2 * tarfile.BLOCKSIZE:
        raise EOFError(f"ends early, at byte {reader.tell()} of the unpacked tar")


def _zip_members(path: Path) -> Generator[Member, None, None]:
    with _reading(path), zipfile.ZipFile(path) as archive:
        members = []
        for info in archive.infolist():
            # `filename` is cut at a NUL; the check needs the name as it is stored.
            name = _safe_path(info.orig_filename, path)
            _check_size(name, info.file_size, path)
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind: Literal["file", "link"] = "file"
            if mode == stat.S_IFLNK:
                _check_size(name, info.file_size, path, limit=4096)
                target = archive.read(info).decode("utf-8", "surrogateescape")
                _check_link(info.orig_filename, target, True, path)
                kind = "link"
            elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(path, name, "is a device or pipe")
            if not info.is_dir():
                read = partial(_read_zip, archive, info, path)
                members.append(Member(name, kind, info.file_size, read))
        members.sort(key=lambda member: member.path.split("/"))
        yield from members


def _read_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    with _reading(path):
        data = archive.read(info)
        if len(data) != info.file_size:
            raise EOFError(f"ends inside {info.filename!r}")
        return data


def _safe_path(name: str, archive: Path) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
        raise _unsafe(archive, name, "points outside the archive")
    if parts and re.match(r"[A-Za-z]:", parts[0]):
        raise _unsafe(archive, name, "begins with a drive letter")
    return "/".join(parts)


def _check_link(name: str, target: str, symbolic: bool, archive: Path) -> None:
    base = posixpath.dirname(name) if symbolic else ""
    landing = posixpath.normpath(posixpath.join(base, target))
    outside = landing.startswith(("/", "../")) or landing == ".." or "\\" in target
    if outside or re.match(r"[A-Za-z]:", target):
        raise _unsafe(archive, name, f"is a link to {target!r}, outside the archive")


def _check_size(name: str, size: int, archive: Path, limit: int = MAX_MEMBER_BYTES) -> None:
    if not 0 <= size <= limit:
        raise SourceError(
            f"{archive}: {name} claims {size} bytes. Expected 0 to {limit} for a file of a release;"
            " the archive is damaged or made to exhaust memory: do not use it."
        )


def _unsafe(archive: Path, name: str, why: str) -> SourceError:
    return SourceError(
        f"{archive}: member {name!r} {why}. Expected plain files below the archive's own folder;"
        " nothing of it is used: get the release from a place you trust."
    )


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the standard library raises on damaged or forbidden files into SourceError."""
    try:
        yield
    except _BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise SourceError(
                f"{os.fspath(path)}: cannot be read ({error.strerror}). Expected a folder or"
                " archive that this account may read; check the path, its permissions and the disk."
            ) from error
        detail = str(error) or type(error).__name__
        raise SourceError(
            f"{os.fspath(path)}: truncated or damaged ({detail}). Expected a complete archive of"
            " the release; download or copy it again."
        ) from error
