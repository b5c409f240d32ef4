"""Takes a session out of every place: this disk, the exports, the Hub and its history."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.errors import IFLLMError
from ifllm_space.server import refusals
from ifllm_space.server.hub_push import HubPush
from ifllm_space.server.identity import session_id_of
from ifllm_space.server.limits import RateLimit
from ifllm_space.server.session_folder import SessionFolder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WithdrawalReceipt:
    """What became of a withdrawal.

    Attributes:
        complete: It is gone everywhere. False: the Hub could not be asked; it is tried again with
            every push until it is done.
    """

    complete: bool


def withdraw(
    code: str,
    sessions: SessionFolder,
    hub: HubPush | None,
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
    with hub.lock if hub else nullcontext():
        if session_id is None or not (here or (hub and hub.holds(session_id))):
            wrong_codes.take()
            raise refusals.unknown_code()
        sessions.bury(tombstone_of(session_id))
        sessions.delete(session_id)
        complete = True
        _rebuild_exports(exports, sessions)
        if hub:
            try:
                hub.take_out_withdrawn()
            except IFLLMError as error:
                logger.warning("A withdrawal is finished with the next push: %s", error)
                complete = False
    return WithdrawalReceipt(complete)


def _is_here(sessions: SessionFolder, session_id: str) -> bool:
    return sessions.is_here(session_id) or sessions.is_withdrawn(session_id)


def _rebuild_exports(exports: Path | None, sessions: SessionFolder) -> None:
    """Make the prepared folder again from the sessions that are left; without any it is gone."""
    if exports is None or not exports.exists():
        return
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.sessions_card import waiting_questions

    try:
        public = waiting_questions(exports) == 0
    except IFLLMError:
        public = True  # of an export that says nothing, make the one that tells less
    shutil.rmtree(exports)
    if sessions.sizes():
        try:
            prepare(sessions.folder, exports, progress=False, public=public)
        except IFLLMError as error:
            logger.warning("The export is deleted and could not be made again: %s", error)
