"""`ifllm audit`: what it understands, and how it runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

_HELP = """\
Tell whether reading behaviour says which answer is preferred, beyond the length of the answers.

SESSIONS is a folder of collected sessions, a prepared folder, a release, or ifllm: what
load_dataset("ifllm") finds.

  ifllm audit sessions                   # while they come in: look as often as you like
  ifllm audit ./collected --width .03    # a gain of .03 is worth having
  ifllm audit ifllm --json

Prints for each page: turns, readers, labelled pairs; whether the pointer saw the click on the
rating; the accuracy of length alone and of length with behaviour; the gain for a reader with an
interval that holds at every look; and yes, not yet (how many more readers), or no gain above X.
"""


def add_audit_parser(commands: Any) -> None:
    """Add `ifllm audit` to the commands of a parser."""
    command: argparse.ArgumentParser = commands.add_parser(
        "audit",
        help="is there signal on my page?",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "source", metavar="SESSIONS", help="sessions, prepared folder, release, or ifllm"
    )
    command.add_argument(
        "--width",
        type=float,
        default=0.05,
        metavar="W",
        help="an interval of ±W is wanted, and a gain below W is none (default: .05)",
    )
    command.add_argument("--json", action="store_true", help="print all of it as JSON")


def run_audit_command(
    arguments: argparse.Namespace, *, say: Callable[[str], None], show: Callable[[str], None]
) -> int:
    """Run `ifllm audit`.

    Args:
        arguments: What the parser understood.
        say: Prints words.
        show: Prints data.
    """
    from ifllm_hf.benchmark.audit.report import audit_text
    from ifllm_hf.benchmark.audit.run import run_audit

    audit = run_audit(arguments.source, width=arguments.width, say=say)
    show(json.dumps(audit.record, indent=2) if arguments.json else audit_text(audit))
    return 0
