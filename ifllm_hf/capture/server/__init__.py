"""What stores a session: consent first, then every line on disk before it is acknowledged.

    store = SessionStore(settings)
    store.start()
    opened = store.open_session(consent_version="1", consent_text=TEXT, client={})
    store.append(opened.session_id, {"type": "turn", ...})

identity      codes, session ids, tokens
checks        what was sent is parsed and held against the schema
refusals      every reason for which something is not stored
watch         counts, and what the operator hears on stderr; status: the same in rows
limits        how often a session, or a hashed address, may ask
batch_index   which batches a file holds
durable       files that outlive a crash
append_log    the file of one session: append, repair, which batches are in it
session_folder
              all sessions of a disk: which there are, which were withdrawn
packing       packs sessions that have come to rest into shards
pushing       what sends sessions to a dataset repository, as far as it is known here
withdrawal    takes a session out of every place; retention: those whose time is over
store         what appends to sessions: one writer, group commit
page_messages the texts of a chat page, which its owner tells and no browser
routes        what a browser may post
"""

from __future__ import annotations

from ifllm_hf.capture.server.durable import Stored
from ifllm_hf.capture.server.identity import OpenedSession
from ifllm_hf.capture.server.page_messages import PageMessage, put_messages
from ifllm_hf.capture.server.refusals import Refusal
from ifllm_hf.capture.server.store import SessionStore

__all__ = [
    "OpenedSession",
    "PageMessage",
    "Refusal",
    "SessionStore",
    "Stored",
    "put_messages",
]
