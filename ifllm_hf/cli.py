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
Without it: $IFLLM_RELEASE, else the pinned public release is downloaded once. A folder of sessions
that the Space collected is read in the same way.

  ifllm prepare                               # download, then ./ifllm
  ifllm prepare release.tar.xz --out data/ifllm --json > ledger.json
  ifllm prepare --synthetic 50 --out ./ifllm  # made-up data, no network
  ifllm prepare sessions --out ./collected --models models/   # which models know who withdrew?
"""
_REVIEW = """\
Decide, question by question, what of the collected sessions may become public.

  ifllm review sessions          # shows what waits; p publish, w withhold, Enter later
  ifllm prepare sessions --public --out ./public
"""
_PUSH = """\
Publish on the Hugging Face Hub: a prepared dataset, the app that shows it, or a reward model.

  ifllm push dataset ORG/ifllm --from ./ifllm --private
  ifllm push space ORG/readers --from ./ifllm
  ifllm push model ORG/ifllm-reward --from outputs/reward   # with code, card and run.json
"""
_FEATURES = """\
Compute features, one row per turn.

  ifllm features ours.parquet --set ours --from ./ifllm     # from a prepared folder
  ifllm features paper.parquet --set paper --from release.tar.xz   # the paper's 212 columns
  ifllm features paper.parquet --set paper --repairs        # and what reading all rows changes

The paper's features are defined on the raw files: --from is then a release (default as in
`ifllm prepare`). Its 15 metrics and their ratios are added.
"""
_BENCHMARK = """\
Score reward models held out by reader, with intervals, on the paper's pairs and on all of them.

  ifllm benchmark --quick                                # a minute: fast models, fewer repeats
  ifllm benchmark --out outputs/benchmark                # everything, with report and figures
  ifllm benchmark --predictions mine.parquet --json      # a stranger's predictions beside ours
  ifllm benchmark --readers --out outputs/readers        # how readers differ, and what tells what

A run with --out that is interrupted goes on where it stopped.
"""
_LABEL = """\
Label pairs and write them in TRL's format, with a confidence for each.

  ifllm label pairs.parquet --source explicit               # the readers' own clicks
  ifllm label pairs.parquet --source both --nu 0.05 --check # clicks corrected by behaviour
  ifllm label pairs.parquet --source reward --inputs gaze   # what the eyes alone say

Sources: explicit; reward (a behaviour model, out of fold by reader, calibrated); both (a click that
behaviour contradicts loses confidence; assumes that click errors do not depend on behaviour given
the preference). --nu is the share of clicks that are mistakes.
"""
_DEMO = """\
The whole line in minutes, on a CPU: prepare, load, score by worker, pairs, one short DPO run.

  ifllm demo                      # the release, or made-up data without network
  ifllm demo --synthetic 40 --out ./demo
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    commands = parser()
    arguments = commands.parse_args(argv)
    if arguments.command is None:
        commands.print_help()
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
    except OSError as error:  # a full disk, a folder that may not be written
        _say(f"ifllm {arguments.command}: {error}")
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="ifllm",
        description="What people do while they read answers of language models, as preference "
        "signal: data, reward models, alignment.",
    )
    top.add_argument("--version", action="version", version=f"ifllm {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    prepare = _command(commands, "prepare", "write the folder that load_dataset loads", _PREPARE)
    prepare.add_argument("source", nargs="?", metavar="SOURCE")
    prepare.add_argument("--out", type=Path, default=Path("ifllm"), help="default: ./ifllm")
    prepare.add_argument("--json", action="store_true", help="print the ledgers as JSON")
    prepare.add_argument(
        "--synthetic", type=_positive, metavar="N", help="make up a release of N conversations"
    )
    prepare.add_argument("--seed", type=int, default=0, help="of the made-up release")
    prepare.add_argument(
        "--public", action="store_true", help="of sessions: only what somebody has reviewed"
    )
    prepare.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="of sessions: name those (folders or ORG/NAME) that learned from who withdrew",
    )
    prepare.set_defaults(run=_run_prepare)

    review = _command(commands, "review", "what of the sessions may become public", _REVIEW)
    review.add_argument("sessions", type=Path, metavar="SESSIONS")
    review.set_defaults(run=_run_review)

    push = _command(commands, "push", "publish on the Hugging Face Hub", _PUSH)
    push.add_argument("what", choices=["dataset", "model", "space"])
    push.add_argument("repository", metavar="ORG/NAME")
    push.add_argument("--from", dest="folder", type=Path, default=Path("ifllm"), metavar="PATH")
    push.add_argument("--private", action="store_true")
    push.set_defaults(run=_run_push)

    features = _command(commands, "features", "one row of features per turn", _FEATURES)
    features.add_argument("out", type=Path, metavar="OUT.parquet")
    features.add_argument("--set", dest="family", choices=["ours", "paper"], default="ours")
    features.add_argument("--from", dest="source", metavar="PATH")
    features.add_argument(
        "--repairs",
        action="store_true",
        help="with --set paper: also read as the paper did, and print what the lost rows change",
    )
    features.add_argument("--overwrite", action="store_true")
    features.set_defaults(run=_run_features)

    benchmark = _command(commands, "benchmark", "scores with intervals", _BENCHMARK)
    benchmark.add_argument("--from", dest="folder", type=Path, default=Path("ifllm"))
    benchmark.add_argument("--quick", action="store_true")
    benchmark.add_argument(
        "--readers", action="store_true", help="styles of reading; what gaze and mouse go with"
    )
    benchmark.add_argument("--json", action="store_true", help="print the scores as JSON")
    benchmark.add_argument("--predictions", type=Path, nargs="+", default=[], metavar="FILE")
    benchmark.add_argument("--out", type=Path, help="folder for report, figures and finished parts")
    benchmark.add_argument("--seed", type=int, default=0)
    benchmark.add_argument("--jobs", type=_positive, help="processes that fit models")
    benchmark.add_argument("--overwrite", action="store_true", help="replace a report in --out")
    benchmark.set_defaults(run=_run_benchmark)

    label = _command(commands, "label", "preference pairs with confidence", _LABEL)
    label.add_argument("out", type=Path, metavar="OUT", help=".parquet or .jsonl")
    label.add_argument("--source", choices=["explicit", "reward", "both"], default="explicit")
    label.add_argument(
        "--inputs",
        choices=["best", "text", "gaze", "mouse", "gaze+mouse", "text+gaze+mouse"],
        default="best",
        help="what the behaviour model sees (best: lengths and the end of reading)",
    )
    label.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="instead of --inputs: predictions of a reward model, held out by reader",
    )
    label.add_argument("--from", dest="folder", type=Path, default=Path("ifllm"), metavar="PATH")
    label.add_argument("--nu", type=float, default=0.05, help="share of mistaken clicks (.05)")
    label.add_argument("--judge-fold", type=int, help="readers whose clicks train no labeller")
    label.add_argument("--seed", type=int, default=0)
    label.add_argument("--check", action="store_true", help="show three pairs, assert the side")
    label.add_argument("--json", action="store_true", help="print the report as JSON")
    label.add_argument("--overwrite", action="store_true")
    label.set_defaults(run=_run_label)

    demo = _command(commands, "demo", "the whole line in minutes", _DEMO)
    demo.add_argument("source", nargs="?", metavar="SOURCE")
    demo.add_argument("--out", type=Path, default=Path("outputs/demo"))
    demo.add_argument("--synthetic", type=_positive, metavar="N", help="use made-up data")
    demo.set_defaults(run=_run_demo)
    return top


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
    from ifllm_hf.data.sessions.collected import is_sessions_folder
    from ifllm_hf.hub.dataset_card import write_card

    if arguments.models and not is_sessions_folder(arguments.source or ""):
        raise ConfigError(
            f"--models compares cards with the withdrawals of a folder of sessions, and SOURCE is "
            f"{arguments.source}. Give the folder that the Space collects into."
        )
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
        report = prepare(arguments.source, arguments.out, card=write_card, public=arguments.public)
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
    if quality["agreement"]["ticks"]:
        _say(
            f"turns agree with the text seen on {quality['agreement']['share']:.2%} of "
            f"{quality['agreement']['ticks']:,} ticks, out of sample; end of reading: "
            + ", ".join(f"{how} {n}" for how, n in quality["reading_end"].items())
        )
    if arguments.models:
        _name_affected(report.source, arguments.models)
    if report.synthetic:
        _say("The numbers are MADE UP: this release is synthetic.")
    _say(f'Next, in Python: load_dataset("{_shown(report.folder.path)}")')
    return 0


def _name_affected(sessions: str, models: Sequence[str]) -> None:
    from ifllm_hf.data.sessions.collected import read_tombstones
    from ifllm_hf.data.sessions.withdrawn import affected_models

    affected = affected_models(models, read_tombstones(Path(sessions)))
    for model in affected:
        _say(
            f"{model.model} learned from {len(model.readers)} readers who have withdrawn: "
            + ", ".join(model.readers)
        )
    _say(f"{len(affected)} models have to be trained again or taken down.")


def _run_review(arguments: argparse.Namespace) -> int:
    from ifllm_hf.data.sessions.collected import open_sessions
    from ifllm_hf.data.sessions.review import decide, write_decisions

    sessions = open_sessions(arguments.sessions)
    decided = decide(sessions.waiting, ask=input, say=_say)
    write_decisions(sessions.source.folder, decided)
    _say(f"{len(decided)} decided, {len(sessions.waiting) - len(decided)} wait.")
    return 0


def _shown(path: Path) -> str:
    """Return a path as one would type it here."""
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def _run_push(arguments: argparse.Namespace) -> int:
    if arguments.what == "space":
        from ifllm_hf.hub.space import push_space as push
    elif arguments.what == "model":
        from ifllm_hf.hub.publish_model import push_model as push
    else:
        from ifllm_hf.hub.publish import push_dataset as push

    url = push(arguments.folder, arguments.repository, private=arguments.private)
    sys.stdout.write(f"{url}\n")
    return 0


def _run_features(arguments: argparse.Namespace) -> int:
    if arguments.family == "ours":
        if arguments.repairs:
            raise ConfigError("--repairs compares the paper's features; add --set paper")
        from ifllm_hf.behavior.features import write_features

        table = write_features(
            arguments.source or "ifllm", arguments.out, overwrite=arguments.overwrite
        )
    else:
        from ifllm_hf.behavior.paper_file import repair_text, write_paper_features

        table = write_paper_features(arguments.source, arguments.out, overwrite=arguments.overwrite)
        if arguments.repairs:
            _show(repair_text(arguments.source))
    _say(f"{table.height} turns, {table.width - 1} columns -> {arguments.out}")
    return 0


def _run_benchmark(arguments: argparse.Namespace) -> int:
    if arguments.readers:
        return _run_readers(arguments)
    from ifllm_hf.benchmark.run import run_benchmark

    run = run_benchmark(
        arguments.folder,
        quick=arguments.quick,
        predictions=arguments.predictions,
        out=arguments.out,
        seed=arguments.seed,
        jobs=arguments.jobs,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        _print_json(run.records)
    else:
        _show(run.table())
    if run.report is not None:
        _say(f"report: {run.report}")
    return 0


def _run_readers(arguments: argparse.Namespace) -> int:
    if arguments.quick or arguments.predictions:
        raise ConfigError(
            "--readers compares readers, not models; --quick and --predictions do not go with it. "
            "Leave them out"
        )
    from ifllm_hf.benchmark.readers import run_readers

    run = run_readers(
        arguments.folder,
        out=arguments.out,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        _print_json(run.records)
    else:
        _show(run.text())
    return 0


def _run_label(arguments: argparse.Namespace) -> int:
    from ifllm_hf.alignment.label_check import check_labels
    from ifllm_hf.alignment.label_inputs import label_model
    from ifllm_hf.alignment.labels import read_turns_with_features, write_labels

    if arguments.source == "explicit" and (arguments.predictions or arguments.inputs != "best"):
        raise ConfigError(
            "--inputs and --predictions have no meaning for --source explicit, which takes clicks "
            "as they are; use --source reward, or leave them out"
        )
    if arguments.predictions is not None and arguments.inputs != "best":
        raise ConfigError(
            f"--predictions {arguments.predictions} and --inputs {arguments.inputs} exclude each "
            "other. Leave one of them out."
        )
    turns = read_turns_with_features(arguments.folder)
    report = write_labels(
        turns,
        arguments.out,
        source=arguments.source,
        model=None if arguments.inputs == "best" else label_model(arguments.inputs),
        predictions=arguments.predictions,
        nu=arguments.nu,
        judge_fold=arguments.judge_fold,
        seed=arguments.seed,
        overwrite=arguments.overwrite,
    )
    _say(report.text())
    if arguments.json:
        _print_json(report.to_dict())
    if arguments.check:
        _show(check_labels(arguments.out, turns).text())
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
