"""The code of completion: what a panel pays for, and how its operator checks it.

    python -m ifllm_hf.capture.taking_part.completion sessions > codes.csv

prints a line for every session of a folder: its code, whether it came to the end, and how many
questions were rated. A session that was withdrawn keeps its line. The link that a participant gets
carries this code and nothing else.

The code is a keyed hash of what a tombstone keeps of a session, so whoever holds one learns neither
the withdrawal code nor the session, and the withdrawal code does not tell the code of completion.
Only with the server's secret do code and session come together.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import hmac
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from ifllm_hf.capture.server.identity import secret_beside
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.sessions.collected import read_tombstones
from ifllm_hf.data.sessions.session_file import read_session, tombstone
from ifllm_hf.data.sessions.stored import StoredSessions
from ifllm_hf.errors import ConfigError, IFLLMError

PARAMETER = "code"
_CODE_BYTES = 10


def completion_code(session_tombstone: str, secret: str) -> str:
    """Return the code of a session: 16 letters and digits."""
    said = b"ifllm completion " + session_tombstone.encode()
    keyed = hmac.new(secret.encode(), said, hashlib.sha256).digest()
    return base64.b32encode(keyed[:_CODE_BYTES]).decode()


def completion_link(url: str, code: str) -> str:
    """Return the panel's address with the code as its parameter `code`.

    >>> completion_link("https://panel.example/done?study=7", "ABC")
    'https://panel.example/done?study=7&code=ABC'
    """
    parts = urlsplit(url)
    said = f"{PARAMETER}={code}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{said}" if parts.query else said))


def completions(sessions: Path, secret: str) -> Iterator[tuple[str, str, int | None]]:
    """Yield code, state and rated questions of each session.

    States are finished, unfinished, unreadable and withdrawn.
    """
    gone = read_tombstones(sessions)
    stored = StoredSessions(sessions)
    for session_id in sorted(stored.sizes()):
        mark = tombstone(session_id)
        if mark in gone:
            continue
        session = read_session(stored.place(session_id), events=False)
        state = "unreadable" if session is None else "finished" if session.end else "unfinished"
        rated = None if session is None else len(session.ratings)
        yield completion_code(mark, secret), state, rated
    for mark in sorted(gone):
        yield completion_code(mark, secret), "withdrawn", None


def main(argv: Sequence[str] | None = None) -> int:
    """Print the codes of a folder of sessions as CSV."""
    parser = argparse.ArgumentParser(
        prog="python -m ifllm_hf.capture.taking_part.completion",
        description="The codes of completion of a folder of sessions, as CSV.",
    )
    parser.add_argument("sessions", type=Path, help="folder of the session files")
    folder = parser.parse_args(argv).sessions
    try:
        secret = Settings.from_environment().secret
        if not secret and not (folder / ".secret").exists():
            raise ConfigError(
                f"{folder}: no secret beside the sessions, and $IFLLM_SPACE_SECRET is not set. "
                "Expected the one that the server signs with: set it as it is set there."
            )
        rows = list(completions(folder, secret or secret_beside(folder)))
    except IFLLMError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    table = csv.writer(sys.stdout)
    table.writerow(("code", "state", "rated_questions"))
    table.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
