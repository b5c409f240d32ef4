"""Getting at the bytes of a release, be it a folder or an archive, one conversation at a time.

A release is the folder that holds `query_logs_table.csv`. It may be what is given, or lie in it
as `dataset/`, `<top>/` or `<top>/dataset/` (as in a source archive of the public repository).
"""

from __future__ import annotations

import contextlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.raw.archive import (
    MAX_MEMBER_BYTES,
    Member,
    Members,
    archive_members,
    folder_members,
)
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TABLE_COLUMNS
from ifllm_hf.data.raw.read_ahead import read_ahead
from ifllm_hf.errors import SourceError
from ifllm_hf.files import digest

TABLES = tuple(TABLE_COLUMNS)
BEHAVIOR = "user_behavior"
_READ_AHEAD = 4


@dataclass(frozen=True)
class ConversationFiles:
    """The behaviour files of one conversation, as bytes.

    Attributes:
        user_id: Name of the folder below `user_behavior/`.
        task_id: Name of the folder below that.
        files: Content of every `*.csv` in it by file name, unknown and empty ones included.
    """

    user_id: str
    task_id: int
    files: dict[str, bytes]

    @property
    def conversation_id(self) -> str:
        """The key `user_id/task_id` that the tables use."""
        return f"{self.user_id}/{self.task_id}"


class Origin(ABC):
    """Where bytes come from.

    Attributes:
        name: The file or folder, for messages.
        ledger: Files seen in the newest walk: kept or dropped with a reason.
    """

    name: str
    ledger: Ledger

    @abstractmethod
    def fingerprint(self) -> str:
        """Return the digest of the content; free after a full walk, else it makes one."""

    @abstractmethod
    def close(self) -> None:
        """Let go of an archive that was kept open between `tables` and `conversations`."""

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def open_source(path: str | os.PathLike[str], *, hash_content: bool = True) -> Source:
    """Open a release for reading; nothing is ever unpacked to disk.

    Args:
        path: Folder, or archive (.tar, .tar.gz, .tar.xz, .tar.bz2 or .zip; the name is not
            looked at).
        hash_content: Take the digest along while reading, so that `fingerprint` costs nothing
            after a full walk (about one second for 1 GB).

    Returns:
        The source. Use it in a `with` block, or call `close` after reading only the tables.

    Raises:
        SourceError: Nothing is there, it may not be read, or it is neither folder nor archive.
            What is wrong deeper inside an archive is raised when that place is reached.
    """
    place = Path(path).expanduser()
    try:
        if place.is_dir():
            root = _find_root(place)
            return Source(str(place), partial(folder_members, root), hash_content)
        if place.is_file():
            return Source(str(place), archive_members(place), hash_content)
        seen = "is neither a file nor a folder" if place.exists() else "does not exist"
    except OSError as error:
        seen = f"cannot be read ({error.strerror}: {error.filename})"
    raise SourceError(
        f"{place}: {seen}. Expected the release as a folder or archive; check the path and its"
        " permissions."
    )


def _find_root(folder: Path) -> Path:
    if (folder / QUERY_LOGS).is_file():
        return folder
    inner = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()]
    candidates = [*inner, *(entry / "dataset" for entry in inner)]
    found = [place for place in candidates if (place / QUERY_LOGS).is_file()]
    if len(found) > 1:
        raise _ambiguous(str(folder), found[0].name, str(found[1].relative_to(folder)))
    if not found and is_prepared(folder):
        raise SourceError(
            f"{folder}: is prepared already. Load it with load_dataset, or give the folder or "
            "archive of an IFLLM release."
        )
    if not found:
        raise _no_table(str(folder), QUERY_LOGS)
    return found[0]


class Source(Origin):
    """A release that can be read from the beginning as often as one likes; see `open_source`."""

    def __init__(self, name: str, members: Members, hash_content: bool) -> None:
        """Take any walk of members."""
        self.name = name
        self.ledger = Ledger("files")
        self._members = members
        self._hash_content = hash_content
        self._root: tuple[str, ...] = ()
        self._tables: dict[str, bytes] | None = None
        self._digest: str | None = None
        self._pending: _Scan | None = None

    def tables(self) -> dict[str, bytes]:
        """Return the three tables by file name."""
        if self._tables is None:
            scan = self._scan(self._hash_content)
            # The walk stops behind the tables. It goes on from there when the conversations
            # are asked for, unless some of them came before the tables.
            if next(scan, None) is not None:
                self._pending = scan
        assert self._tables is not None
        return dict(self._tables)

    def conversations(self) -> Generator[ConversationFiles, None, None]:
        """Yield the conversations in the order of the source, reading a little ahead.

        Closing the generator, or dropping it, ends the thread that reads ahead.
        """
        self.tables()
        scan, self._pending = self._pending or self._scan(self._hash_content), None
        with contextlib.closing(read_ahead(scan, _READ_AHEAD)) as ahead:
            for item in ahead:
                if isinstance(item, ConversationFiles):
                    yield item

    def fingerprint(self) -> str:
        """Return the digest of the content; free after a full walk, else it makes one."""
        if self._digest is None:
            self.tables()
            if not self._hash_content:
                self.close()
            scan, self._pending = self._pending or self._scan(True), None
            for _ in scan:
                pass
        assert self._digest is not None
        return self._digest

    def close(self) -> None:
        """Let go of an archive that was kept open between `tables` and `conversations`."""
        if self._pending is not None:
            self._pending.close()
            self._pending = None

    def _scan(self, hash_content: bool) -> _Scan:
        """Walk all members: first the tables if they are not known yet, then the conversations.

        Yields:
            The ledger once, as a sign that the tables are complete, then the conversations. Ends
            behind the tables if behaviour came before them: only then is the root known, and
            another walk is needed.
        """
        ledger = self.ledger = Ledger("files")
        content = _Content(hash_content)
        with contextlib.closing(self._members()) as members:
            known: set[str] = set()
            if self._tables is None:
                if self._find_tables(members, ledger):
                    return
                assert self._tables is not None
                for name, data in self._tables.items():
                    content.add(name, data)
                known = set(TABLES)
            yield ledger
            yield from self._group(members, ledger, content, known)
        ledger.check()
        if hash_content:
            self._digest = content.digest()

    def _find_tables(self, members: Iterator[Member], ledger: Ledger) -> bool:
        """Read until the three tables are found; return whether behaviour came before them."""
        found: dict[tuple[str, ...], dict[str, bytes]] = {}
        root: tuple[str, ...] | None = None
        behavior_came_first = False
        held = 0
        for member in members:
            *parts, name = member.path.split("/")
            parent = tuple(parts)
            if _is_table(parent, name):
                tables = found.setdefault(parent, {})
                tables[name] = self._content(member, is_new=name not in tables, held=held)
                held += member.size
                if name == QUERY_LOGS:
                    if root is not None:
                        raise _ambiguous(self.name, "/".join(root), "/".join(parent))
                    root = parent
                if root is not None and len(found[root]) == len(TABLES):
                    self._root, self._tables = root, {key: found[root][key] for key in TABLES}
                    ledger.keep(len(TABLES))
                    others = sum(len(tables) for tables in found.values()) - len(TABLES)
                    ledger.drop("table outside the release folder", others)
                    return behavior_came_first
            elif parts[-3:-2] == [BEHAVIOR] and name.endswith(".csv"):
                behavior_came_first = True
            else:
                ledger.drop(_why_ignored(parent, name, ()))
        missing = [name for name in TABLES if root is None or name not in found[root]]
        raise _no_table(self.name, missing[0])

    def _group(
        self, members: Iterator[Member], ledger: Ledger, content: _Content, known: set[str]
    ) -> Iterator[ConversationFiles]:
        """Put the files of each conversation together; they must follow each other."""
        done: set[tuple[str, int]] = set()
        key: tuple[str, int] | None = None
        files: dict[str, bytes] = {}
        held = 0
        for member in members:
            *parts, name = member.path.split("/")
            parent = tuple(parts)
            folder = _conversation(parent, name, self._root)
            if parent == self._root and name in TABLES:
                content.add(name, self._content(member, is_new=name not in known))
                known.add(name)
                ledger.keep()
            elif name == QUERY_LOGS and _is_table(parent, name):
                raise _ambiguous(self.name, "/".join(self._root), "/".join(parent))
            elif folder is not None:
                if folder != key:
                    if key is not None:
                        yield ConversationFiles(*key, files)
                        done.add(key)
                    key, files, held = folder, {}, 0
                if key in done:
                    raise _scattered(self.name, member.path)
                data = self._content(member, is_new=name not in files, held=held)
                held += member.size
                files[name] = data
                content.add(f"{BEHAVIOR}/{folder[0]}/{folder[1]}/{name}", data)
                ledger.keep()
            else:
                ledger.drop(_why_ignored(parent, name, self._root))
        if key is not None:
            yield ConversationFiles(*key, files)

    def _content(self, member: Member, *, is_new: bool, held: int = 0) -> bytes:
        if member.kind != "file":
            seen = f"{member.path} is a {member.kind} entry, not a file"
        elif not is_new:
            seen = f"{member.path} occurs twice"
        elif held + member.size > MAX_MEMBER_BYTES:
            seen = f"the files beside {member.path} have more than {MAX_MEMBER_BYTES} bytes"
        else:
            return member.read()
        raise SourceError(
            f"{self.name}: {seen}. Expected each file of the release once, with its content;"
            " pack the folder anew, or give the unpacked folder."
        )


_Scan = Generator[Ledger | ConversationFiles, None, None]


def _is_table(parent: tuple[str, ...], name: str) -> bool:
    may_be_root = len(parent) <= 1 or (len(parent) == 2 and parent[1] == "dataset")
    return name in TABLES and may_be_root


def _conversation(
    parent: tuple[str, ...], name: str, root: tuple[str, ...]
) -> tuple[str, int] | None:
    """Return the user and task that a behaviour file belongs to, or None for any other file."""
    inner = parent[len(root) :]
    is_csv = name.endswith(".csv") and not name.startswith(".")
    if parent[: len(root)] != root or len(inner) != 3 or inner[0] != BEHAVIOR or not is_csv:
        return None
    if not re.fullmatch(r"0|[1-9][0-9]{0,17}", inner[2]):
        return None
    return inner[1], int(inner[2])


def _why_ignored(parent: tuple[str, ...], name: str, root: tuple[str, ...]) -> str:
    inner = parent[len(root) :]
    if parent[: len(root)] != root or inner[:1] != (BEHAVIOR,):
        return "not part of the release"
    if len(inner) != 3:
        return f"not in {BEHAVIOR}/<user>/<task>"
    if name.startswith("."):
        return "hidden file"
    return "task folder is not a number" if name.endswith(".csv") else "not a csv file"


class _Content:
    """The digest of a release's files, whatever their order and packing."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._lines: list[bytes] = []

    def add(self, path: str, data: bytes) -> None:
        if self._wanted:
            line = f"{path}\0{len(data)}\0{digest(data)}\n"
            self._lines.append(line.encode("utf-8", "surrogateescape"))

    def digest(self) -> str:
        return digest(b"".join(sorted(self._lines)))


def _no_table(name: str, table: str) -> SourceError:
    return SourceError(
        f"{name}: no {table} in it. Expected {', '.join(TABLES)} and {BEHAVIOR}/ at the top, under"
        " dataset/ or under <top>/dataset/; give the folder or archive of an IFLLM release."
    )


def _ambiguous(name: str, one: str, other: str) -> SourceError:
    return SourceError(
        f"{name}: two releases in it, in {one or '.'!r} and in {other or '.'!r}. Expected one;"
        " give the folder of the one you mean."
    )


def _scattered(name: str, path: str) -> SourceError:
    return SourceError(
        f"{name}: {path} comes apart from the other files of its conversation. Expected the files"
        " of a folder one after another; unpack the archive and give the folder."
    )
