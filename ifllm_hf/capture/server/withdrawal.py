"""Takes a session out of every place: this disk, the exports, the Hub and its history."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ifllm_hf.capture.server import refusals
from ifllm_hf.capture.server.identity import session_id_of
from ifllm_hf.capture.server.limits import RateLimit
from ifllm_hf.capture.server.pushing import SessionPush
from ifllm_hf.capture.server.session_folder import SessionFolder
from ifllm_hf.errors import IFLLMError


@dataclass(frozen=True)
class WithdrawalReceipt:
    """What became of a withdrawal.

    Attributes:
        complete: It is gone everywhere. False: the Hub could not be asked, an export not be
            deleted, or its shard not be written anew; it is tried again, with every push, every
            hour and every start, until it is done.
    """

    complete: bool


def withdraw(
    code: str,
    sessions: SessionFolder,
    hub: SessionPush | None,
    wrong_codes: RateLimit,
    exports: Path | None,
) -> WithdrawalReceipt:
    """Delete the session of a withdrawal code for good.

    The tombstone comes first, so that nothing late is taken and a crash cannot undo it: each later
    start finishes what it finds. Pushes wait.

    Args:
        code: As it was shown; hyphens, spaces and case do not matter.
        sessions: Where it lies.
        hub: Where it was pushed to.
        wrong_codes: Limit of those that are tried.
        exports: The prepared folder that was made of the sessions.

    Raises:
        Refusal: No session has this code, or too many wrong ones were tried.
    """
    session_id = session_id_of(code)
    # A code has 128 bits: guessing one is hopeless, and strangers with wrong ones keep nobody from
    # withdrawing what is here. They are limited before anything is asked of the Hub.
    here = session_id is not None and _is_here(sessions, session_id)
    if not here and (wait_s := wrong_codes.wait_s()):
        raise refusals.too_many("wrong codes", wait_s)
    with sessions.moving:
        if session_id is None or not (here or (hub and hub.holds(session_id))):
            wrong_codes.take()
            raise refusals.unknown_code()
        try:
            sessions.take_out(session_id)
        except OSError as error:
            sessions.watch.trouble("withdrawal", f"nothing was deleted: {error}")
            raise refusals.disk_failed(error.strerror or type(error).__name__) from error
        complete = finish(sessions, hub, exports)
    return WithdrawalReceipt(complete)


def finish(sessions: SessionFolder, hub: SessionPush | None, exports: Path | None) -> bool:
    """Take whoever is buried out of shards, exports and the Hub; tell whether nobody is left."""
    with sessions.moving:
        complete = sessions.take_out_of_shards()
        complete = finish_exports(sessions, exports) and complete
        if hub:
            try:
                complete = hub.take_out_withdrawn() and complete
            except IFLLMError as error:
                sessions.watch.trouble("withdrawal", f"finished with the next push: {error}")
                complete = False
    return complete


def finish_exports(sessions: SessionFolder, exports: Path | None) -> bool:
    """Make every export again that still holds somebody who withdrew.

    Args:
        sessions: What they were made of.
        exports: A prepared folder that the operator named; others are known from `ifllm prepare`.

    Returns:
        Whether none of them holds such a reader any more.
    """
    from ifllm_hf.data.prepared.exports_of_sessions import holds_withdrawn, known_exports

    done = True
    tombstones = sessions.tombstones()
    named = [exports] if exports else []
    try:
        named += known_exports(sessions.folder)
    except OSError as error:
        sessions.watch.trouble("export", f"it cannot be read which there are: {error}")
        done = False
    for export in dict.fromkeys(named):
        try:
            if export.exists() and holds_withdrawn(export, tombstones):
                _make_again(export, sessions)
        except (IFLLMError, OSError) as error:
            sessions.watch.trouble("export", f"{export}: somebody who withdrew is in it: {error}")
            done = False
    return done


def _make_again(export: Path, sessions: SessionFolder) -> None:
    """Delete a prepared folder, then make it of the sessions that are left; of none it is gone."""
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.sessions_card import waiting_questions

    try:
        public = waiting_questions(export) == 0
    except IFLLMError:
        public = True  # of an export that says nothing, make the one that tells less
    shutil.rmtree(export)
    if sessions.count():
        try:
            prepare(sessions.folder, export, progress=False, public=public)
        except (IFLLMError, OSError) as error:
            sessions.watch.trouble("export", f"{export} is deleted and not made again: {error}")


def _is_here(sessions: SessionFolder, session_id: str) -> bool:
    return sessions.is_here(session_id) or sessions.is_withdrawn(session_id)
