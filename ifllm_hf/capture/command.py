"""What `ifllm serve` understands."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_SERVE = """\
Serve what records people in a browser, behind whatever page: the recorder that the page loads, and
the routes that store what it sends.

  export IFLLM_SPACE_CONTACT="lab@example.org" IFLLM_SPACE_LEGAL_BASIS="ethics approval 12/3"
  ifllm serve --sessions sessions --origin https://chat.example.org
  ifllm prepare sessions --out ./collected         # the same tables as of a release
  ifllm serve --sessions sessions --path-prefix /ifllm   # behind the page's own proxy
  ifllm serve --sessions sessions --keep-days 90   # deletes what rests so long, and says so

Nobody can take part before a contact and a legal basis are set. /status shows the operator how the
collection stands, in a browser on this machine; docs/serve.md says what a page has to do, and
docs/collect.md has all settings ($IFLLM_SPACE_*). One process serves a folder of sessions.
"""


def add_serve(commands: Any) -> None:
    """Add the command to those of `ifllm`."""
    serve = commands.add_parser(
        "serve",
        help="record people in a browser, on a page of yours",
        description=_SERVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "--sessions", type=Path, required=True, metavar="DIR", help="folder of the sessions"
    )
    serve.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="a page on another host that may send here, such as https://chat.example.org; "
        "may be given several times",
    )
    serve.add_argument("--host", default="127.0.0.1", help="default: this machine alone")
    serve.add_argument("--port", type=_port, default=7861, metavar="N", help="default: 7861")
    serve.add_argument(
        "--path-prefix", default="", metavar="PATH", help="where a proxy shows it, such as /ifllm"
    )
    serve.add_argument(
        "--keep-days",
        type=int,
        metavar="N",
        help="days after its last event at which a session is deleted; participants are told "
        "(default: until it is withdrawn)",
    )


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port; expected 1 to 65535")
    return number
