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
from typing import TYPE_CHECKING, Any

from ifllm_hf.cli_arguments import parser
from ifllm_hf.errors import ConfigError, IFLLMError, Interrupted, missing_extra

if TYPE_CHECKING:
    from ifllm_hf.remote_path import Place


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    commands = parser()
    arguments = commands.parse_args(argv)
    if arguments.command is None:
        commands.print_help()
        return 0
    try:
        return _COMMANDS[arguments.command](arguments)
    except KeyboardInterrupt as stopped:
        kept = f"; {stopped}" if isinstance(stopped, Interrupted) else ""
        interrupted = f"interrupted; what stood there before is untouched{kept}"
        try:
            _say(f"ifllm {arguments.command}: {interrupted}")
        except KeyboardInterrupt:  # polars raised the first one, Python itself this one
            _say(f"ifllm {arguments.command}: {interrupted}")
        return 130
    except BrokenPipeError:
        # The reader of our output left (`| head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ImportError as error:
        if (lacks := missing_extra(error)) is None:
            raise
        _say(f"ifllm {arguments.command}: {lacks}")
        return 1
    except (IFLLMError, OSError) as error:  # OSError: a full disk, a folder not to be written
        _say(f"ifllm {arguments.command}: {error}")
        return 1


def _run_prepare(arguments: argparse.Namespace) -> int:
    from ifllm_hf.data.prepared.prepare import prepare, prepare_synthetic
    from ifllm_hf.data.sessions.collected import is_sessions_folder
    from ifllm_hf.hub.cards.dataset_card import write_card

    _check_ranks(arguments)
    if arguments.models and not is_sessions_folder(arguments.source or ""):
        raise ConfigError(
            f"--models compares cards with the withdrawals of a folder of sessions, and SOURCE is "
            f"{arguments.source}. Give the folder that the Space collects into."
        )
    if arguments.synthetic is not None:
        _refuse_source_of_synthetic(arguments)
        if arguments.public:
            raise ConfigError(
                "--public leaves out what nobody has reviewed of collected sessions, and "
                "--synthetic makes up data. Leave one of them out."
            )
        _refuse_to_replace_recordings(arguments.out)
        report = prepare_synthetic(
            arguments.synthetic, arguments.out, seed=arguments.seed, card=write_card
        )
    elif arguments.tasks is not None:
        from ifllm_hf.data.ranks.clusters import find_engine
        from ifllm_hf.data.ranks.run import prepare_in_ranks

        engine = find_engine(
            arguments.engine,
            arguments.workers,
            exchange=arguments.exchange,
            settings=dict(arguments.engine_args),
        )
        report = prepare_in_ranks(
            arguments.source,
            arguments.out,
            tasks=arguments.tasks,
            engine=engine,
            public=arguments.public,
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
    if (left_out := report.left_out()) is not None:
        _say(left_out)
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


def _check_ranks(arguments: argparse.Namespace) -> None:
    of_ranks = (arguments.workers, arguments.exchange, *arguments.engine_args)
    if arguments.tasks is None and (arguments.engine != "local" or any(of_ranks)):
        raise ConfigError(
            "--workers, --engine, --engine-args and --exchange say how ranks are run, and --tasks "
            "how many there are. Add --tasks, or leave them out."
        )
    if arguments.tasks is not None and arguments.source is None:
        raise ConfigError(
            f"--tasks {arguments.tasks} cuts collected sessions into ranks; name their folder as "
            "SOURCE, or leave it out."
        )


def _refuse_source_of_synthetic(arguments: argparse.Namespace) -> None:
    if arguments.source is not None and arguments.synthetic is not None:
        raise ConfigError(
            f"SOURCE ({arguments.source}) and --synthetic {arguments.synthetic} exclude each "
            "other. Leave one of them out."
        )


def _refuse_to_replace_recordings(out: str) -> None:
    """Keep made-up data from taking the place, and the name, of what people did."""
    from ifllm_hf.data.card_head import card_head
    from ifllm_hf.data.marker import is_prepared
    from ifllm_hf.remote_path import is_remote, local_path

    if is_remote(out):
        raise ConfigError(f"{out}: made-up data are written here alone. Name a folder with --out.")
    place = local_path(out)
    if not is_prepared(place):
        return
    tags = card_head(place).get("tags")
    if tags and "synthetic" not in tags:
        raise ConfigError(
            f"{out}: holds recordings of people, and made-up data would take their place. Name "
            "another folder with --out."
        )


def _name_affected(sessions: str, models: Sequence[str]) -> None:
    from ifllm_hf.data.sessions.collected import read_tombstones
    from ifllm_hf.remote_path import place_of
    from ifllm_hf.training.withdrawn_readers import affected_models

    affected = affected_models(models, read_tombstones(place_of(sessions)))
    for model in affected:
        _say(
            f"{model.model} learned from {len(model.readers)} readers who have withdrawn: "
            + ", ".join(model.readers)
        )
    _say(f"{len(affected)} models have to be trained again or taken down.")


def _run_review(arguments: argparse.Namespace) -> int:
    if arguments.sessions.is_file():
        from ifllm_hf.data.imports.import_chats import review_export

        done, waiting = review_export(arguments.sessions, ask=input, say=_say)
        _say(f"{done} decided, {waiting} wait.")
        return 0
    from ifllm_hf.data.sessions.collected import open_sessions
    from ifllm_hf.data.sessions.review import decide, write_decisions

    sessions = open_sessions(arguments.sessions)
    folder = sessions.source.folder
    assert isinstance(folder, Path)
    decided = decide(sessions.waiting, ask=input, say=_say)
    write_decisions(folder, decided)
    _say(f"{len(decided)} decided, {len(sessions.waiting) - len(decided)} wait.")
    return 0


def _run_import(arguments: argparse.Namespace) -> int:
    from ifllm_hf.data.imports.import_command import run_import

    return run_import(arguments, say=_say, show=_show)


def _run_pack(arguments: argparse.Namespace) -> int:
    from ifllm_hf.data.sessions.packed import pack

    report = pack(arguments.sessions, shard_mb=arguments.shard_mb, idle_hours=arguments.idle_hours)
    if arguments.json:
        _print_json(report.to_dict())
    left = "".join(f", {n} {why}" for why, n in sorted(report.left.items()) if n)
    _say(
        f"{report.packed} sessions -> {len(report.shards)} shards "
        f"({report.n_bytes / 1e6:.1f} MB) in {arguments.sessions}{left}"
    )
    return 0


def _shown(path: Place) -> str:
    """Return a path as one would type it here."""
    if not isinstance(path, Path):
        # The Hub's datasets are loaded by their names.
        return str(path).removeprefix("hf://datasets/")
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


def _run_push(arguments: argparse.Namespace) -> int:
    more: dict[str, Any] = {}
    if arguments.evaluated_on is not None:
        if arguments.what != "model":
            raise ConfigError(
                f"--evaluated-on belongs to a model, not to a {arguments.what}; leave it out"
            )
        more["evaluated_on"] = arguments.evaluated_on
    if arguments.what == "space":
        from ifllm_hf.hub.publish.space import push_space as push
    elif arguments.what == "model":
        from ifllm_hf.hub.publish.model import push_model as push
    else:
        from ifllm_hf.hub.publish.dataset import push_dataset as push

    # Without the flag the account or organisation decides, and may well say private.
    url = push(arguments.folder, arguments.repository, private=arguments.private or None, **more)
    sys.stdout.write(f"{url}\n")
    return 0


def _data(arguments: argparse.Namespace) -> Path:
    """Return the prepared folder of `--from`, else what `load_dataset("ifllm")` would read."""
    from ifllm_hf.data.prepared.ifllm import find_prepared

    return find_prepared(arguments.source, say=_say)


def _run_features(arguments: argparse.Namespace) -> int:
    if arguments.family == "ours":
        if arguments.repairs:
            raise ConfigError("--repairs compares the paper's features; add --set paper")
        from ifllm_hf.behavior.features.by_shard import write_features
        from ifllm_hf.table_parts import check_table_place

        check_table_place(arguments.out, overwrite=arguments.overwrite)
        written = write_features(
            _data(arguments),
            arguments.out,
            workers=arguments.workers,
            overwrite=arguments.overwrite,
            progress=True,
        )
        turns, columns = written.select("query_id").collect().height, written.collect_schema()
    else:
        from ifllm_hf.behavior.paper.feature_file import repair_text, write_paper_features

        if arguments.workers != 1:
            raise ConfigError("--workers takes shards of our features; leave --set paper out")
        if arguments.out.suffix != ".parquet":
            raise ConfigError(
                f"{arguments.out}: the paper's features are one Parquet file; expected a name that "
                "ends in .parquet. Rename it."
            )
        table = write_paper_features(arguments.source, arguments.out, overwrite=arguments.overwrite)
        turns, columns = table.height, table.schema
        if arguments.repairs:
            _show(repair_text(arguments.source))
    _say(f"{turns} turns, {len(columns) - 1} columns -> {arguments.out}")
    return 0


def _run_score(arguments: argparse.Namespace) -> int:
    from ifllm_hf.reward.scoring.score_file import score_pairs_file

    written = score_pairs_file(
        arguments.source,
        arguments.out,
        model=arguments.model,
        head=arguments.head,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
        say=_say,
    )
    held_out = written.select("held_out").collect()["held_out"]
    seen = int((~held_out).sum() or 0)
    learned = f", {seen} by a head that has learned from their reader" if seen else ""
    _say(f"{len(held_out)} pairs{learned} -> {arguments.out}")
    return 0


def _run_benchmark(arguments: argparse.Namespace) -> int:
    if arguments.readers:
        return _run_readers(arguments)
    from ifllm_hf.benchmark.report.report import check_report_place
    from ifllm_hf.benchmark.run import run_benchmark
    from ifllm_hf.plot.benchmark_report import draw_report
    from ifllm_hf.plot.canvas import require_matplotlib

    if arguments.out is not None:  # before the data are looked for
        require_matplotlib()
        check_report_place(arguments.out / "report.md", overwrite=arguments.overwrite)
    run = run_benchmark(
        _data(arguments),
        quick=arguments.quick,
        predictions=arguments.predictions,
        out=arguments.out,
        seed=arguments.seed,
        jobs=arguments.jobs,
        draw=draw_report,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        _print_json(run.records)
    else:
        _show(run.table() if arguments.all else run.answer())
    if run.report is not None:
        _say(f"report: {run.report}")
    return 0


def _run_readers(arguments: argparse.Namespace) -> int:
    if arguments.quick or arguments.predictions or arguments.jobs or arguments.all:
        raise ConfigError(
            "--readers compares readers, not models; --quick, --all, --predictions and --jobs do "
            "not go with it. Leave them out."
        )
    from ifllm_hf.benchmark.studies.readers import run_readers
    from ifllm_hf.plot.benchmark_report import draw_reader_habits
    from ifllm_hf.plot.canvas import require_matplotlib

    if arguments.out is not None:
        require_matplotlib()
    run = run_readers(
        _data(arguments),
        out=arguments.out,
        seed=arguments.seed,
        draw=draw_reader_habits,
        overwrite=arguments.overwrite,
    )
    if arguments.json:
        _print_json(run.records)
    else:
        _show(run.text())
    return 0


def _run_audit(arguments: argparse.Namespace) -> int:
    from ifllm_hf.benchmark.audit.audit_command import run_audit_command

    return run_audit_command(arguments, say=_say, show=_show)


def _run_label(arguments: argparse.Namespace) -> int:
    from ifllm_hf.alignment.labels.actions.label_command import run_label_actions, takes_actions

    if takes_actions(arguments):
        return run_label_actions(arguments, lambda: _data(arguments), say=_say, show=_show)
    from ifllm_hf.alignment.labels.check import TURNS_OF_CHECK, check_labels
    from ifllm_hf.alignment.labels.label_file import check_place
    from ifllm_hf.alignment.labels.noise import check_nu
    from ifllm_hf.alignment.labels.signals import label_model
    from ifllm_hf.alignment.labels.write import write_labels
    from ifllm_hf.behavior.features.table import turn_files
    from ifllm_hf.files import read_parquet

    if arguments.labels == "explicit" and (arguments.predictions or arguments.inputs != "best"):
        raise ConfigError(
            "--inputs and --predictions have no meaning for --source explicit, which takes clicks "
            "as they are; use --source reward, or leave them out"
        )
    if arguments.predictions is not None and arguments.inputs != "best":
        raise ConfigError(
            f"--predictions {arguments.predictions} and --inputs {arguments.inputs} exclude each "
            "other. Leave one of them out."
        )
    check_nu(arguments.nu)
    check_place(arguments.out, arguments.overwrite)  # before the data are looked for
    folder = _data(arguments)
    report = write_labels(
        folder,
        arguments.out,
        source=arguments.labels,
        model=None if arguments.inputs == "best" else label_model(arguments.inputs),
        predictions=arguments.predictions,
        nu=arguments.nu,
        judge_fold=arguments.judge_fold,
        seed=arguments.seed,
        workers=arguments.workers,
        overwrite=arguments.overwrite,
    )
    _say(report.text())
    if arguments.json:
        _print_json(report.to_dict())
    if arguments.check:
        turns = read_parquet(turn_files(folder), TURNS_OF_CHECK)
        _show(check_labels(arguments.out, turns).text())
    return 0


def _run_merge(arguments: argparse.Namespace) -> int:
    if arguments.no_check and arguments.prompts:
        raise ConfigError(
            f"--prompts {arguments.prompts} is what is measured on, and --no-check measures "
            "nothing. Leave one of them out."
        )
    from ifllm_hf.alignment.merge.run import merge_adapter

    merged = merge_adapter(
        arguments.adapter,
        arguments.out,
        base=arguments.base,
        load_in_4bit=arguments.load_in_4bit or None,
        dtype=arguments.dtype,
        shard_size=arguments.shard_size,
        check=not arguments.no_check,
        prompts=arguments.prompts,
        n_prompts=arguments.n_prompts,
        max_tokens=arguments.max_tokens,
        trust_remote_code=arguments.trust_remote_code,
        say=_say,
    )
    if arguments.json:
        _print_json(merged.record)
    else:
        _show(merged.text())
    _say(f"{merged.record['adapter']} -> {_shown(merged.folder.absolute())}")
    return 0


def _run_serve(arguments: argparse.Namespace) -> int:
    from ifllm_hf.capture.serve import serve
    from ifllm_hf.hub.collecting import HubPush

    serve(
        arguments.sessions,
        host=arguments.host,
        port=arguments.port,
        origins=arguments.origin,
        path_prefix=arguments.path_prefix,
        keep_days=arguments.keep_days,
        push=HubPush,
    )
    return 0


def _run_demo(arguments: argparse.Namespace) -> int:
    from ifllm_hf.demo import run_demo

    _refuse_source_of_synthetic(arguments)
    page = run_demo(
        arguments.source,
        arguments.out,
        synthetic=arguments.synthetic,
        verbose=arguments.verbose,
        say=_say,
        show=_show,
    )
    if arguments.open and not _opened(page):
        _say("  no browser could be opened here; open that address in one")
    return 0


def _opened(page: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def _show(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


_COMMANDS = {
    "prepare": _run_prepare,
    "import": _run_import,
    "review": _run_review,
    "pack": _run_pack,
    "push": _run_push,
    "features": _run_features,
    "score": _run_score,
    "benchmark": _run_benchmark,
    "audit": _run_audit,
    "label": _run_label,
    "merge": _run_merge,
    "serve": _run_serve,
    "demo": _run_demo,
}
