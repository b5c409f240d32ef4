"""`ifllm import`: what it understands, and how it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_HELP = """\
Import what another program exports: chats, ratings, and what readers did with answers.

PROGRAM is open-webui; EXPORT is its export of ratings (/api/v1/evaluations/feedbacks/all/export, as
an administrator) or of chats (/api/v1/chats/all). Ratings bring copies of their chats along;
with --chats there are also the chats in which nobody rated.

  ifllm import open-webui feedbacks.json --out ./chats
  ifllm import open-webui feedbacks.json --chats chats.json --out ./chats --json > ledger.json
  ifllm label pairs.parquet --from ./chats --source actions
  ifllm review feedbacks.json          # p publish, w withhold, Enter later
  ifllm import open-webui feedbacks.json --public --out ./public

Readers get pseudonyms; names, addresses and comments are not read; e-mail addresses are masked.
"""


def add_import_parser(commands: Any) -> None:
    """Add `ifllm import` to the commands of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "import",
        help="chats and ratings of other programs",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("program", choices=["open-webui"], help="what exported")
    command.add_argument("export", type=Path, metavar="EXPORT", help="ratings or chats, as JSON")
    command.add_argument(
        "--chats",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="exports of chats of the same installation",
    )
    command.add_argument(
        "--out", default="chats", metavar="FOLDER", help="folder to write (default: ./chats)"
    )
    command.add_argument(
        "--public", action="store_true", help="only what somebody has reviewed and published"
    )
    command.add_argument("--json", action="store_true", help="print the ledgers as JSON")


def run_import(
    arguments: argparse.Namespace, *, say: Callable[[str], None], show: Callable[[str], None]
) -> int:
    """Run `ifllm import`.

    Args:
        arguments: What the parser understood.
        say: Prints words.
        show: Prints data.
    """
    from ifllm_hf.data.imports.import_chats import import_open_webui

    report = import_open_webui(
        [arguments.export, *arguments.chats], arguments.out, public=arguments.public
    )
    if arguments.json:
        show(json.dumps(report.to_dict(), indent=2))
    say(report.text())
    say(f"Next: ifllm label pairs.parquet --from {arguments.out} --source actions")
    return 0
