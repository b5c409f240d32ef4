"""What a push would send: hf_xet, the client that pushes to the Hub, with a folder for its storage.

`local://` is an endpoint that hf_xet has for tests of its own. Everything before the network is
real: chunks of about 64 kB that end where their content says so, and those that the storage has
are not sent again. What the Hub keeps and the folder does not (chunks of other repositories) would
only make it less.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sent:
    """What one push comes to, in bytes.

    Attributes:
        total: Of all files.
        new: Of the chunks that the storage did not have.
    """

    total: int
    new: int


class XetStore:
    """A storage of its own; set $HF_XET_CACHE first, where hf_xet writes its log."""

    def __init__(self, folder: Path) -> None:
        """Begin with what lies in `folder`, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        self._endpoint = f"local://{folder}"

    def push(self, files: Iterable[Path]) -> Sent:
        """Store files and say what was new."""
        from hf_xet import XetSession

        commit = XetSession().new_upload_commit(endpoint=self._endpoint)
        for file in files:
            commit.start_upload_file(str(file))
        found = commit.wait_to_finish().dedup_metrics
        return Sent(found.total_bytes, found.new_bytes)
