"""Takes a session out of every place: this disk, the exports, the Hub and its history."""

from __future__ import annotations

import logging
import shutil
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ifllm_hf.data.sessions.session_file import tombstone as tombstone_of
from ifllm_hf.errors import IFLLMError
from ifllm_space.server import refusals
from ifllm_space.server.identity import session_id_of

if TYPE_CHECKING:
    from ifllm_space.server.store import SessionStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WithdrawalReceipt:
    """What became of a withdrawal.

    Attributes:
        complete: It is gone everywhere. False: the Hub could not be asked; it is tried again with
            every push until it is done.
    """

    complete: bool


def withdraw(store: SessionStore, code: str) -> WithdrawalReceipt:
    """Delete the session of a withdrawal code for good.

    The tombstone comes first, so that nothing late is taken and a crash cannot undo it: each later
    start finishes what it finds. Pushes wait.

    Args:
        store: Whose session it is.
        code: As it was shown; hyphens, spaces and case do not matter.

    Raises:
        Refusal: No session has this code, or too many wrong ones were tried.
    """
    session_id = session_id_of(code)
    # A code has 128 bits: guessing one is hopeless, and strangers with wrong ones keep nobody from
    # withdrawing what is here. They are limited before anything is asked of the Hub.
    here = session_id is not None and _is_here(store, session_id)
    if not here and (wait_s := store.wrong_codes.wait_s()):
        raise refusals.too_many("wrong codes", wait_s)
    with store.hub.lock if store.hub else nullcontext():
        if session_id is None or not (here or (store.hub and store.hub.holds(session_id))):
            store.wrong_codes.take()
            raise refusals.unknown_code()
        store.bury(tombstone_of(session_id))
        store.delete_local(session_id)
        complete = True
        _rebuild_exports(store)
        if store.hub:
            try:
                store.hub.take_out_withdrawn()
            except IFLLMError as error:
                logger.warning("A withdrawal is finished with the next push: %s", error)
                complete = False
    return WithdrawalReceipt(complete)


def _is_here(store: SessionStore, session_id: str) -> bool:
    return session_id in store.sizes() or tombstone_of(session_id) in store.tombstones()


def _rebuild_exports(store: SessionStore) -> None:
    """Make the prepared folder again from the sessions that are left; without any it is gone."""
    exports = store.settings.exports
    if exports is None or not exports.exists():
        return
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.card import waiting_questions

    try:
        public = waiting_questions(exports) == 0
    except IFLLMError:
        public = True  # of an export that says nothing, make the one that tells less
    shutil.rmtree(exports)
    if store.sizes():
        try:
            prepare(store.folder, exports, progress=False, public=public)
        except IFLLMError as error:
            logger.warning("The export is deleted and could not be made again: %s", error)
