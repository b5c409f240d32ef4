"""What sends sessions to a place that outlives this machine, as far as the server knows it.

Who starts a server hands it in; `ifllm_hf.hub.collecting.HubPush` is ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Protocol

from ifllm_hf.capture.server.session_folder import SessionFolder


class SessionPush(Protocol):
    """Pushes sessions in the background, and takes out who withdrew.

    Attributes:
        pushed_epoch_s: When a push last came to its end; None: not yet.
    """

    pushed_epoch_s: float | None

    def start(self) -> None:
        """Push from now on."""
        ...

    def close(self) -> None:
        """Stop, after a last push."""
        ...

    def restore(self, session_id: str) -> bool:
        """Fetch a session that this machine lost; False if there is none, or nobody answers."""
        ...

    def elsewhere(self, but: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yield the sessions that this machine lost, each with its file.

        Args:
            but: Ids that are left out.

        Raises:
            IFLLMError: Nobody answers.
        """
        ...

    def holds(self, session_id: str) -> bool:
        """Whether a session is there."""
        ...

    def take_out_withdrawn(self) -> bool:
        """Delete every withdrawn session there; tell whether none can be left."""
        ...


class PushTo(Protocol):
    """Makes what pushes a folder of sessions to a dataset repository."""

    def __call__(self, sessions: SessionFolder, repo_id: str, interval_s: float) -> SessionPush:
        """Ask nobody yet; raise ConfigError for a name that no repository can have."""
        ...
