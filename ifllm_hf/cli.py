"""The `ifllm` command: parse, call one function, print.

Data goes to stdout, words to stderr. Whatever is heavy is imported by the command that needs it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ifllm_hf import __version__
from ifllm_hf.errors import ConfigError, IFLLMError

_PREPARE = """\
Read a release and write the folder that load_dataset loads.

SOURCE is a release folder, an archive (.tar.gz, .tar.xz, .zip; never unpacked), or a URL of one.
Without it: $IFLLM_RELEASE, else the pinned public release is downloaded once.

  ifllm prepare                               # download, then ./ifllm
  ifllm prepare release.tar.xz --out data/ifllm --json > ledger.json
  ifllm prepare --synthetic 50 --out ./ifllm  # made-up data, no network
"""
_PUSH = """\
Publish a prepared dataset on the Hugging Face Hub.

  ifllm push dataset ORG/ifllm --from ./ifllm --private
"""
_DEMO = """\
The whole line in minutes, on a CPU: prepare, load, score by worker, pairs, one short DPO run.

  ifllm demo                      # the release, or made-up data without network
  ifllm demo --synthetic 40 --out ./demo
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        return int(arguments.run(arguments))
    except IFLLMError as error:
        _say(f"ifllm {arguments.command}: {error}")
        return 1
    except KeyboardInterrupt:
        _say(f"ifllm {arguments.command}: interrupted; what stood there before is untouched")
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ifllm",
        description="What people do while they read answers of language models, as preference "
        "signal: data, reward models, alignment.",
    )
    parser.add_argument("--version", action="version", version=f"ifllm {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    prepare = _command(commands, "prepare", "write the folder that load_dataset loads", _PREPARE)
    prepare.add_argument("source", nargs="?", metavar="SOURCE")
    prepare.add_argument("--out", type=Path, default=Path("ifllm"), help="default: ./ifllm")
    prepare.add_argument("--json", action="store_true", help="print the ledgers as JSON")
    prepare.add_argument(
        "--synthetic", type=_positive, metavar="N", help="make up a release of N conversations"
    )
    prepare.add_argument("--seed", type=int, default=0, help="of the made-up release")
    prepare.set_defaults(run=_run_prepare)

    push = _command(commands, "push", "publish on the Hugging Face Hub", _PUSH)
    push.add_argument("what", choices=["dataset"])
    push.add_argument("repository", metavar="ORG/NAME")
    push.add_argument("--from", dest="folder", type=Path, default=Path("ifllm"), metavar="PATH")
    push.add_argument("--private", action="store_true")
    push.set_defaults(run=_run_push)

    demo = _command(commands, "demo", "the whole line in minutes", _DEMO)
    demo.add_argument("source", nargs="?", metavar="SOURCE")
    demo.add_argument("--out", type=Path, default=Path("outputs/demo"))
    demo.add_argument("--synthetic", type=_positive, metavar="N", help="use made-up data")
    demo.set_defaults(run=_run_demo)
    return parser


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _run_prepare(arguments: argparse.Namespace) -> int:
    from ifllm_hf.data.prepare import prepare, prepare_synthetic
    from ifllm_hf.hub.dataset_card import write_card

    if arguments.synthetic is not None:
        if arguments.source is not None:
            raise ConfigError(
                f"SOURCE ({arguments.source}) and --synthetic {arguments.synthetic} exclude each "
                "other. Leave one of them out."
            )
        report = prepare_synthetic(
            arguments.synthetic, arguments.out, seed=arguments.seed, card=write_card
        )
    else:
        report = prepare(arguments.source, arguments.out, card=write_card)
    if arguments.json:
        _print_json(report.to_dict())
    total, quality = report.ledgers["total"], report.quality
    facts = report.facts
    _say(
        f"{facts['turns']} turns of {facts['workers']} workers in {facts['conversations']} "
        f"conversations -> {report.folder.path} ({report.folder.n_bytes / 1e6:.1f} MB)"
    )
    _say(
        f"rows seen {total['seen']:,}, kept {total['kept']:,} (repaired {total['repaired']:,}), "
        f"dropped {sum(total['dropped'].values()):,}: "
        + ", ".join(f"{reason} {n:,}" for reason, n in total["dropped"].items())
    )
    _say(
        f"turns agree with the text seen on {quality['agreement']['share']:.2%} of "
        f"{quality['agreement']['ticks']:,} ticks, out of sample; end of reading: "
        + ", ".join(f"{how} {n}" for how, n in quality["reading_end"].items())
    )
    if report.synthetic:
        _say("The numbers are MADE UP: this release is synthetic.")
    _say(f'Next, in Python: load_dataset("{_shown(report.folder.path)}")')
    return 0


def _shown(path: Path) -> str:
    """Return a path as one would type it here."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def _run_push(arguments: argparse.Namespace) -> int:
    from ifllm_hf.hub.publish import push_dataset

    url = push_dataset(arguments.folder, arguments.repository, private=arguments.private)
    sys.stdout.write(f"{url}\n")
    return 0


def _run_demo(arguments: argparse.Namespace) -> int:
    from ifllm_hf.demo import run_demo

    if arguments.source is not None and arguments.synthetic is not None:
        raise ConfigError(
            f"SOURCE ({arguments.source}) and --synthetic {arguments.synthetic} exclude each "
            "other. Leave one of them out."
        )
    run_demo(arguments.source, arguments.out, synthetic=arguments.synthetic, say=_say, show=_show)
    return 0


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
