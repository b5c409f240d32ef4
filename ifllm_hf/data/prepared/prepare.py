"""From a release to the prepared folder, with a report of everything seen on the way."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifllm_hf.data.prepared.elsewhere import place_to_write
from ifllm_hf.data.prepared.exports_of_sessions import note_export
from ifllm_hf.data.prepared.folder import (
    PreparedFolder,
    check_target,
    working_folder,
    write_prepared,
)
from ifllm_hf.data.recordings import ConversationRows, Recordings
from ifllm_hf.data.release import open_release
from ifllm_hf.errors import ConfigError, SourceError, WithdrawnMeanwhileError
from ifllm_hf.progress import progress_bar
from ifllm_hf.remote_path import Place, RemotePath, is_remote, local_path

logger = logging.getLogger(__name__)

RELEASE_VARIABLE = "IFLLM_RELEASE"
DEFAULT_FOLDER = Path("ifllm")
_ATTEMPTS = 3  # to read sessions of which none is withdrawn meanwhile


@dataclass(frozen=True)
class PrepareReport:
    """What `prepare` wrote and what it saw.

    Attributes:
        folder: The folder written, with its row counts.
        source: Name of what was read.
        digest: sha256 of the release's content, the same for folder and archive.
        synthetic: The numbers are made up.
        ledgers: See `Release.ledgers`.
        quality: Agreement of the turns, and how the ends of reading were found.
        facts: Turns, readers and conversations.
        sessions: The folder of the collected sessions that it was made of; None: of a release.
    """

    folder: PreparedFolder
    source: str
    digest: str
    synthetic: bool
    ledgers: dict[str, Any]
    quality: dict[str, Any]
    facts: dict[str, int]
    sessions: Place | None = None

    def at(self, out: str | os.PathLike[str]) -> PrepareReport:
        """Return the report of a folder that has come to its place; its sessions learn of it."""
        place = RemotePath(str(out)) if is_remote(out) else self.folder.path
        if self.sessions is not None:
            note_export(self.sessions, place)
        return replace(self, folder=replace(self.folder, path=place))

    def left_out(self) -> str | None:
        """Say in one line which sessions or files were left out as a whole; None: none were."""
        files = self.ledgers["source_files"]
        if not files["dropped"]:
            return None
        what = "files" if self.sessions is None else "sessions"
        why = ", ".join(f"{reason} {n:,}" for reason, n in files["dropped"].items())
        seen, kept = files["seen"], files["kept"]
        return f"{what} seen {seen:,}, kept {kept:,}, left out {seen - kept:,}: {why}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "out": str(self.folder.path),
            "source": self.source,
            "digest": self.digest,
            "synthetic": self.synthetic,
            "rows": self.folder.rows,
            "bytes": self.folder.n_bytes,
            "facts": self.facts,
            "quality": self.quality,
            "ledgers": {**self.ledgers, "files": dict(self.ledgers["files"])},
        }


# Writes the card: gets the folder with its tables, and the report's parts that are known by then.
CardWriter = Callable[[Path, dict[str, Any]], str]


def prepare(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] = DEFAULT_FOLDER,
    *,
    progress: bool = True,
    card: CardWriter | None = None,
    public: bool = False,
) -> PrepareReport:
    """Read a release, or collected sessions, and write the folder that `load_dataset` loads.

    Args:
        source: Folder, archive or URL of a release, or a folder of collected sessions, which may
            lie wherever fsspec reads (`hf://datasets/ORG/NAME`, `s3://…`); None:
            `$IFLLM_RELEASE`, else the download.
        out: The folder to write, here or as a URL; an older prepared folder there is replaced when
            the new one is complete.
        progress: Show a progress bar on stderr.
        card: Writes the dataset card of a release; a plain one by default. Collected sessions have
            a card of their own.
        public: Of collected sessions, only what somebody has reviewed.

    Raises:
        IFLLMError: See `open_release`, `open_sessions` and `write_prepared`. Nothing is left
            behind.
    """
    with place_to_write(out) as here:
        report = _prepare_here(source, here, progress, card, public)
    return report.at(out)


def _prepare_here(
    source: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    progress: bool,
    card: CardWriter | None,
    public: bool,
) -> PrepareReport:
    check_target(out)
    _tell_of_ranks(out)
    place: Place
    if source is not None and is_remote(source):
        place = RemotePath(str(source))
    else:
        place = find_release(source, progress=progress)
    for _ in range(_ATTEMPTS - 1):
        with contextlib.suppress(WithdrawnMeanwhileError):
            return _prepare(open_recordings(place, public=public), out, progress, card)
    return _prepare(open_recordings(place, public=public), out, progress, card)


def _tell_of_ranks(out: str | os.PathLike[str]) -> None:
    """Warn of what an unfinished run in ranks has left beside an output."""
    work = working_folder(out)
    if work.is_dir() and {entry.name for entry in work.iterdir()} - {"run.lock"}:
        logger.warning(
            "%s: holds the ranks of an unfinished run with --tasks; this run neither uses nor "
            "deletes them. Run that command again to go on, or delete the folder: it holds what "
            "readers did.",
            work,
        )


def _prepare(
    release: Recordings, out: str | os.PathLike[str], progress: bool, card: CardWriter | None
) -> PrepareReport:
    tables = release.tables_to_write()
    ends: Counter[str] = Counter()

    def write(text: Callable[[Path], str]) -> PreparedFolder:
        return write_prepared(
            out,
            turns=tables.turns,
            conversations=_shown(release, ends, progress),
            preferences=tables.preferences,
            tasks=tables.tasks,
            workers=tables.workers,
            card=text,
        )

    with release.source:
        return write_and_report(release, ends, write, card=card)


def write_and_report(
    release: Recordings,
    ends: Counter[str],
    write: Callable[[Callable[[Path], str]], PreparedFolder],
    *,
    card: CardWriter | None = None,
) -> PrepareReport:
    """Write a prepared folder and say what was seen on the way.

    Args:
        release: What is prepared; its counts are complete once the tables are written.
        ends: How the ends of reading were found; complete at the same time.
        write: Writes the folder; it gets the function that returns the text of the card.
        card: See `prepare`.
    """
    from ifllm_hf.data.sessions.collected import CollectedSessions

    def known() -> dict[str, Any]:
        return {
            "synthetic": is_synthetic(release),
            "digest": release.source.fingerprint(),
            "ledgers": release.ledgers(),
            "quality": _quality(release, ends),
        }

    def text(folder: Path) -> str:
        release.check_at_the_end()  # the last step before the folder takes its place
        so_far = known()
        if (own := release.card(so_far)) is not None:
            return own
        return _plain_card(release) if card is None else card(folder, so_far)

    return PrepareReport(
        folder=write(text),
        source=release.source.name,
        sessions=release.source.folder if isinstance(release, CollectedSessions) else None,
        facts=release.facts(),
        **known(),
    )


def prepare_synthetic(
    conversations: int,
    out: str | os.PathLike[str] = DEFAULT_FOLDER,
    *,
    seed: int = 0,
    progress: bool = True,
    card: CardWriter | None = None,
) -> PrepareReport:
    """Make up a release of so many conversations and prepare it; see `prepare`."""
    from ifllm_hf.data.synthetic import write_synthetic_release

    if not is_remote(out):
        check_target(local_path(out))
    with tempfile.TemporaryDirectory(prefix="ifllm-synthetic-") as place:
        made = Path(place) / "release"
        write_synthetic_release(made, conversations=conversations, seed=seed)
        return prepare(made, out, progress=progress, card=card)


def find_release(source: str | os.PathLike[str] | None, *, progress: bool = True) -> Path:
    """Return the release to read: `source`, else `$IFLLM_RELEASE`, else the pinned download.

    A URL is downloaded and checked against the pinned content, as mirrors hold the same release.
    """
    if source is not None and str(source).startswith(("http://", "https://")):
        from ifllm_hf.data.raw.download import fetch_release

        return fetch_release(str(source), progress=progress)
    if is_remote(source):
        raise SourceError(
            f"{source}: a release is read from a folder, an archive or a download (https://). "
            "Fetch it first; collected sessions alone are read where a URL names them."
        )
    if source is not None:
        return local_path(source)
    if named := os.environ.get(RELEASE_VARIABLE):
        if not Path(named).exists():
            raise SourceError(
                f"${RELEASE_VARIABLE} is {named!r}, which does not exist; expected a release "
                "folder or archive. Correct the variable or unset it to use the download."
            )
        return Path(named)
    from ifllm_hf.data.raw.download import fetch_release

    return fetch_release(progress=progress)


def open_recordings(path: Place, *, public: bool = False) -> Recordings:
    """Open whatever lies at `path`: collected sessions, or a release.

    Raises:
        ConfigError: `public` was asked of a release.
        IFLLMError: See `open_release` and `open_sessions`.
    """
    from ifllm_hf.data.sessions.collected import is_sessions_folder, open_sessions

    if isinstance(path, RemotePath) or is_sessions_folder(path):
        return open_sessions(path, public=public)  # releases are read here, or downloaded
    if public:
        raise ConfigError(
            f"{path}: holds no collected sessions, and only their questions wait for a review. "
            "Leave --public out."
        )
    return open_release(path)


def is_synthetic(release: Recordings) -> bool:
    """Tell made-up releases by their readers' names."""
    from ifllm_hf.data.synthetic import SYNTHETIC_PREFIX

    return any(user_id.startswith(SYNTHETIC_PREFIX) for user_id in release.folds)


def _shown(release: Recordings, ends: Counter[str], progress: bool) -> Iterator[ConversationRows]:
    total, title = release.expected_conversations(), "Reading behaviour"
    with progress_bar(total, title, progress, unit="conversation", leave=True, delay=1) as bar:
        for rows in release.conversations():
            ends.update(rows.reading_end_source.values())
            bar.update()
            yield rows
        bar.total = bar.n  # conversations without behaviour files never come


def _quality(release: Recordings, ends: Counter[str]) -> dict[str, Any]:
    return {"agreement": release.agreement.to_dict(), "reading_end": dict(sorted(ends.items()))}


def _plain_card(release: Recordings) -> str:
    made_up = " The numbers are made up." if is_synthetic(release) else ""
    return (
        "# IFLLM, prepared\n\nMade from "
        f"{Path(release.source.name).name} by `ifllm_hf`.{made_up} "
        "`ifllm prepare` writes the full card.\n"
    )
