"""What the `ifllm` command understands: its commands, their options, and their help."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from ifllm_hf import __version__
from ifllm_hf.benchmark.audit.audit_command import add_audit_parser
from ifllm_hf.capture.command import add_serve
from ifllm_hf.data.imports.import_command import add_import_parser

_PREPARE = """\
Read a release and write the folder that load_dataset loads.

SOURCE is a release folder, an archive (.tar.gz, .tar.xz, .zip; never unpacked), or a URL of one.
Without it: $IFLLM_RELEASE, else the pinned public release is downloaded once. A folder of sessions
that the Space collected is read in the same way.

  ifllm prepare                               # download, then ./ifllm
  ifllm prepare release.tar.xz --out data/ifllm --json > ledger.json
  ifllm prepare --synthetic 50 --out made-up  # made-up data, no network
  ifllm prepare sessions --out ./collected --models models/   # which models know who withdrew?
  ifllm prepare sessions --out ./collected --tasks 64 --workers 8   # many sessions, in ranks
  ifllm prepare sessions --out ./collected --tasks 64 --engine ray
  ifllm prepare hf://datasets/ORG/sessions --out hf://datasets/ORG/collected

Sessions, and FOLDER, may also lie where a URL of fsspec names them: hf://, s3://, memory://. Ranks
are parts of the sessions that processes do side by side; after a kill the same command does what is
left. The tables are those of a run without --tasks.
"""
_REVIEW = """\
Decide, question by question, what of the collected sessions may become public.

  ifllm review sessions          # shows what waits; p publish, w withhold, Enter later
  ifllm review feedbacks.json    # likewise of an export for `ifllm import`
  ifllm prepare sessions --public --out ./public
"""
_PACK = """\
Pack closed sessions into Parquet shards: few files instead of thousands, and the same tables.

  ifllm pack sessions                              # what has not grown for a day
  ifllm pack sessions --idle-hours 2 --shard-mb 50 --json
  ifllm prepare sessions --out ./collected         # reads packed sessions and others alike

A kill loses nothing: the same command goes on. While the app runs it packs by itself.
"""
_PUSH = """\
Publish on the Hugging Face Hub: a prepared dataset, the app that shows it, or a reward model.

  ifllm push dataset ORG/ifllm --from ./ifllm --private
  ifllm push space ORG/readers --from ./ifllm
  ifllm push model ORG/ifllm-reward --from outputs/reward   # with code, card and run.json
  ifllm push model ORG/ifllm-reward --from outputs/reward --evaluated-on ORG/ifllm

The last one writes the score of the readers whom the run held out into .eval_results/, beside the
dataset that they belong to; of a run that read ORG/ifllm itself this is done without it.
"""
_FEATURES = """\
Compute features, one row per turn.

  ifllm features ours.parquet                               # of what load_dataset("ifllm") finds
  ifllm features ours.parquet --from ./mine                 # of a prepared folder, or a release
  ifllm features ours --from ./mine --workers 8             # a folder: a shard for each of ./mine
  ifllm features paper.parquet --set paper --from release.tar.xz   # the paper's 212 columns
  ifllm features paper.parquet --set paper --repairs        # and what reading all rows changes

The paper's features are defined on the raw files: --from is then a release (default:
$IFLLM_RELEASE, else the download). Its 15 metrics and their ratios are added.
One shard is in memory at a time. A run that is interrupted goes on where it stopped.
"""
_SCORE = """\
Score every pair of a dataset, or of collected sessions, with a reward model.

  ifllm score ./ifllm scores.parquet               # the model that comes with the package
  ifllm score sessions scores.parquet              # of collected sessions
  ifllm score ./ifllm scores.parquet --model outputs/reward    # any model of recipes/reward.py
  ifllm score ./ifllm scores.parquet --head fold_3  # for labels that the readers of fold 3 judge
  ifllm score ./ifllm scores --workers 8           # a folder: a shard for each of ./ifllm

A reader whom the model has learned from is scored by the head that was fitted without them; the
column held_out says so. One shard is in memory at a time. A run that is interrupted goes on where
it stopped.
"""
_BENCHMARK = """\
Score reward models held out by reader, with intervals, on the paper's pairs and on all of them.

  ifllm benchmark --quick                                # a minute: fast models, fewer repeats
  ifllm benchmark --quick --all                          # every protocol, set and task
  ifllm benchmark --out outputs/benchmark                # everything, with report and figures
  ifllm benchmark --predictions mine.parquet --json      # a stranger's predictions beside ours
  ifllm benchmark --readers --out outputs/readers        # how readers differ, and what tells what

A run with --out that is interrupted goes on where it stopped.
"""
_LABEL = """\
Label pairs and write them in TRL's format, with a confidence for each.

  ifllm label pairs.parquet --source explicit               # the readers' own clicks
  ifllm label pairs.parquet --source all --check            # clicks, behaviour where there is none
  ifllm label pairs.parquet --source both --nu 0.05         # clicks corrected by behaviour
  ifllm label pairs.parquet --source reward --inputs gaze   # what the eyes alone say
  ifllm label pairs --source all                            # a folder: a shard for each of turns
  ifllm label pairs.parquet --source actions --from chats   # what readers did with answers
  ifllm label kto.parquet --source actions --unpaired       # single answers, wanted or not

Sources: explicit; reward (a behaviour model, out of fold by reader, calibrated); both (a click that
behaviour contradicts loses confidence; assumes that click errors do not depend on behaviour given
the preference); all (both where there is a click, behaviour elsewhere); actions (what readers did
with answers: like, switch, edited, regenerated, continued; --unpaired: also copy and stop). --nu is
the share of clicks that are mistakes. The texts of one shard are in memory at a time; with text
among --inputs all are.
"""
_MERGE = """\
Merge an adapter into the weights that it was trained on, and measure what that changed.

ADAPTER is the folder of a run of recipes/sft.py, dpo.py or kto.py, one of its checkpoints, any
LoRA adapter of PEFT, or ORG/NAME. Of our runs run.json says what the base was: NF4 weights are
dequantised, then merged. OUT is a whole model for transformers, vLLM and llama.cpp, with tokenizer,
chat template and a card that says how near it is to what was trained.

  ifllm merge outputs/dpo-qwen3-4b outputs/qwen3-merged
  ifllm merge outputs/smoke merged --no-check        # measure nothing
  ifllm merge outputs/dpo merged --base models/my-sft   # the base lies elsewhere
  ifllm merge ORG/adapter merged --load-in-4bit      # of others, trained on NF4 weights
  ifllm merge outputs/dpo merged --prompts held-out.jsonl --n-prompts 100

Prints KL(trained, served) and, beside it, KL(trained, base): how far training moved the model.
"""
_DEMO = """\
The whole line in minutes, on a CPU: prepare, load, score by worker, pairs, two short DPO runs;
and one page that shows all of it, whose address comes last.

  ifllm demo                      # the release, or made-up data without network
  ifllm demo --open               # opens the page in a browser
  ifllm demo --synthetic 40 --out outputs/made-up
"""


_WORKERS = "shards at once, in so many processes (default: 1)"
_TABLE = "a .parquet file; a name without an ending: a folder of shards"


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
    prepare.add_argument(
        "source", nargs="?", metavar="SOURCE", help="release, archive, URL or sessions; see above"
    )
    prepare.add_argument(
        "--out", default="ifllm", metavar="FOLDER", help="path or URL (default: ./ifllm)"
    )
    _flag(prepare, "--json", "print the ledgers as JSON")
    _number(prepare, "--synthetic", "make up a release of N conversations", least=1)
    _number(prepare, "--seed", "of the made-up release (default: 0)", least=0, default=0)
    _flag(prepare, "--public", "of sessions: only what somebody has reviewed")
    _number(prepare, "--tasks", "of sessions: prepare them in N ranks", least=1)
    _number(prepare, "--workers", "ranks at once (default: the cores of this machine)", least=1)
    prepare.add_argument(
        "--engine",
        choices=["local", "ray", "slurm", "jobs"],
        default="local",
        help="what runs ranks; slurm and jobs are dry runs (default: local)",
    )
    prepare.add_argument(
        "--engine-args",
        nargs="+",
        type=_setting,
        default=[],
        metavar="KEY=VALUE",
        help="of slurm (partition, time) and jobs (flavor): see docs/scale.md",
    )
    prepare.add_argument(
        "--exchange", metavar="URL", help="where machines without a common disk put their ranks"
    )
    prepare.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="of sessions: name those (folders or ORG/NAME) that learned from who withdrew",
    )

    add_import_parser(commands)

    review = _command(commands, "review", "what of the sessions may become public", _REVIEW)
    review.add_argument(
        "sessions",
        type=Path,
        metavar="SESSIONS",
        help="the folder that the Space collects into, or an export for `ifllm import`",
    )

    pack = _command(commands, "pack", "closed sessions into shards", _PACK)
    pack.add_argument(
        "sessions", type=Path, metavar="SESSIONS", help="the folder that the Space collects into"
    )
    _number(pack, "--shard-mb", "MB of a shard, compressed (default: 100)", least=1, default=100)
    hours = "a session that has not grown for N hours is closed (default: 24)"
    _number(pack, "--idle-hours", hours, least=0, default=24)
    _flag(pack, "--json", "print the report as JSON")

    push = _command(commands, "push", "publish on the Hugging Face Hub", _PUSH)
    push.add_argument("what", choices=["dataset", "model", "space"], help="what to publish")
    push.add_argument("repository", metavar="ORG/NAME", help="made if it is missing")
    push.add_argument(
        "--from",
        dest="folder",
        type=Path,
        default=Path("ifllm"),
        metavar="FOLDER",
        help="prepared folder, or that of a model (default: ./ifllm)",
    )
    push.add_argument(
        "--evaluated-on",
        metavar="ORG/NAME",
        help="of a model: the dataset on the Hub whose readers its run held out",
    )
    _flag(push, "--private", "make the repository a private one")

    features = _command(commands, "features", "one row of features per turn", _FEATURES)
    features.add_argument("out", type=Path, metavar="OUT", help=_TABLE)
    features.add_argument(
        "--set",
        dest="family",
        choices=["ours", "paper"],
        default="ours",
        help="whose features (default: ours)",
    )
    _from(features)
    _flag(
        features,
        "--repairs",
        "with --set paper: also read as the paper did, and print what the lost rows change",
    )
    _number(features, "--workers", _WORKERS, least=1, default=1)
    _flag(features, "--overwrite", "replace OUT")

    score = _command(commands, "score", "rewards of every pair", _SCORE)
    score.add_argument(
        "source", metavar="DATA", help="sessions, prepared folder, release or ORG/NAME"
    )
    score.add_argument("out", type=Path, metavar="OUT", help=_TABLE)
    score.add_argument(
        "--model",
        metavar="MODEL",
        help="folder or ORG/NAME of a reward model (default: late-reading, which comes along)",
    )
    score.add_argument(
        "--head",
        metavar="HEAD",
        help="one head for all readers: all, or fold_0 to fold_4, each fitted without that fold",
    )
    _number(score, "--batch-size", "pairs at once (default: 32)", least=1, default=32)
    _number(score, "--workers", _WORKERS, least=1, default=1)
    _flag(score, "--overwrite", "replace OUT")

    benchmark = _command(commands, "benchmark", "scores with intervals", _BENCHMARK)
    _from(benchmark)
    _flag(benchmark, "--quick", "fast models only, fewer repeats, no learning curves")
    _flag(benchmark, "--readers", "styles of reading; what gaze and mouse go with")
    _flag(benchmark, "--all", "print every table, not only the answer and the one behind it")
    _flag(benchmark, "--json", "print the scores as JSON")
    benchmark.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="predictions of other models, scored beside ours (docs/benchmark.md)",
    )
    benchmark.add_argument(
        "--out", type=Path, metavar="FOLDER", help="for report, figures and finished parts"
    )
    _number(benchmark, "--seed", "of splits and bootstrap (default: 0)", least=0, default=0)
    _number(benchmark, "--jobs", "processes that fit models (default: 2)", least=1)
    _flag(benchmark, "--overwrite", "replace a report in --out")

    add_audit_parser(commands)

    label = _command(commands, "label", "preference pairs with confidence", _LABEL)
    label.add_argument("out", type=Path, metavar="OUT", help=f".jsonl; or {_TABLE}")
    label.add_argument(
        "--source",
        dest="labels",
        choices=["explicit", "reward", "both", "all", "actions"],
        default="explicit",
        help="see above (default: explicit)",
    )
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
        help="instead of --inputs: scores or predictions of a reward model, held out by reader",
    )
    _flag(label, "--unpaired", "single answers, wanted or not (TRL's unpaired format, for KTO)")
    label.add_argument(
        "--rules",
        nargs="+",
        default=[],
        metavar="RULE",
        help="of actions: only these (default: all, see above)",
    )
    label.add_argument(
        "--without", nargs="+", default=[], metavar="RULE", help="of actions: all but these"
    )
    _from(label)
    label.add_argument(
        "--nu",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of clicks that are mistakes, for --source both and all (default: 0.05)",
    )
    label.add_argument(
        "--judge-fold",
        type=int,
        metavar="FOLD",
        help="0 to 4: the clicks of its readers train no labelling model",
    )
    _number(label, "--seed", "of the labelling model (default: 0)", least=0, default=0)
    _number(label, "--workers", _WORKERS, least=1, default=1)
    _flag(label, "--check", "show three pairs, assert the side")
    _flag(label, "--json", "print the report as JSON")
    _flag(label, "--overwrite", "replace OUT")

    merge = _command(commands, "merge", "an adapter and its base as one model", _MERGE)
    merge.add_argument("adapter", metavar="ADAPTER", help="folder of an adapter, or ORG/NAME")
    merge.add_argument("out", type=Path, metavar="OUT", help="folder to write; empty or not there")
    merge.add_argument(
        "--base", metavar="MODEL", help="where the base is (default: as the adapter says)"
    )
    _flag(merge, "--load-in-4bit", "an adapter without run.json was trained on NF4 weights")
    merge.add_argument(
        "--dtype",
        choices=["bfloat16", "float16", "float32"],
        default="bfloat16",
        help="of what is written (default: bfloat16)",
    )
    merge.add_argument(
        "--shard-size", default="4GB", metavar="SIZE", help="largest file (default: 4GB)"
    )
    _flag(merge, "--no-check", "do not measure how near it is to what was trained")
    merge.add_argument(
        "--prompts",
        metavar="DATA",
        help="file or dataset to measure on (default: the readers that the run held out; where its "
        "data are not here, made-up prompts)",
    )
    _number(merge, "--n-prompts", "prompts to measure on (default: 50)", least=1, default=50)
    _number(merge, "--max-tokens", "of each answer, at most (default: 64)", least=1, default=64)
    _flag(merge, "--trust-remote-code", "run the code that the base brings along; read it first")
    _flag(merge, "--json", "print what was measured as JSON")

    add_serve(commands)

    demo = _command(commands, "demo", "the whole line in minutes", _DEMO)
    demo.add_argument("source", nargs="?", metavar="SOURCE", help="as in `ifllm prepare`")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("outputs/demo"),
        metavar="FOLDER",
        help="default: outputs/demo; a folder that no demo wrote is not touched",
    )
    _number(demo, "--synthetic", "make up a release of N conversations", least=1)
    _flag(demo, "--open", "open the page in a browser")
    demo.add_argument(
        "-v", "--verbose", action="store_true", help="show the bars and warnings of libraries, too"
    )
    return top


def _command(commands: Any, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return command


def _from(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        help='prepared folder, release or sessions (default: what load_dataset("ifllm") finds: '
        "./ifllm, $IFLLM_RELEASE, the download)",
    )


def _flag(command: argparse.ArgumentParser, name: str, what: str) -> None:
    command.add_argument(name, action="store_true", help=what)


def _number(
    command: argparse.ArgumentParser,
    name: str,
    what: str,
    *,
    least: int,
    default: int | None = None,
) -> None:
    kind = partial(_whole_number, least)
    command.add_argument(name, type=kind, default=default, metavar="N", help=what)


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    name, found, value = text.partition("=")
    if not (name and found):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no KEY=VALUE; give one, such as time=1:00:00"
        )
    # YAML takes 1:30:00 for a number.
    return name, value if ":" in value and "{" not in value else yaml.safe_load(value)


def _whole_number(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no whole number of at least {least}; give one, such as {least}"
        )
    return number
