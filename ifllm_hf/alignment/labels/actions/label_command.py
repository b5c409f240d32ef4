"""The part of `ifllm label` that labels by actions, or single answers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from ifllm_hf.errors import ConfigError

_OF_BEHAVIOR = (
    *(("inputs", "best"), ("predictions", None), ("nu", 0.05)),
    *(("seed", 0), ("workers", 1)),
)
"""Options of a behaviour model, and what they are where nobody gave them."""


def takes_actions(arguments: argparse.Namespace) -> bool:
    """Tell whether these arguments of `ifllm label` are of this module."""
    return bool(
        arguments.labels == "actions" or arguments.unpaired or arguments.rules or arguments.without
    )


def run_label_actions(
    arguments: argparse.Namespace,
    find_folder: Callable[[], Path],
    *,
    say: Callable[[str], None],
    show: Callable[[str], None],
) -> int:
    """Run `ifllm label --source actions`, or `--unpaired`.

    Args:
        arguments: What the parser understood.
        find_folder: Finds the prepared folder.
        say: Prints words.
        show: Prints data.

    Raises:
        ConfigError: Options that do not go together.
    """
    from ifllm_hf.alignment.labels.actions.action_pairs import check_rules, write_action_labels
    from ifllm_hf.alignment.labels.actions.rules import ANSWER_RULES, PAIR_RULES, RULES
    from ifllm_hf.alignment.labels.actions.unpaired_labels import (
        write_unpaired_actions,
        write_unpaired_clicks,
    )
    from ifllm_hf.alignment.labels.label_file import check_place

    _refuse_what_does_not_go(arguments)
    check_place(arguments.out, arguments.overwrite)  # before the data are looked for
    check_rules([*arguments.rules, *arguments.without], RULES)
    known = ANSWER_RULES if arguments.unpaired else PAIR_RULES
    rules = [r for r in (arguments.rules or known) if r not in arguments.without]
    folder = find_folder()
    if arguments.labels == "explicit":
        report = write_unpaired_clicks(folder, arguments.out, overwrite=arguments.overwrite)
    else:
        write = write_unpaired_actions if arguments.unpaired else write_action_labels
        report = write(
            folder,
            arguments.out,
            rules=rules,
            judge_fold=arguments.judge_fold,
            overwrite=arguments.overwrite,
            progress=True,
        )
    say(report.text())
    if arguments.json:
        show(json.dumps(report.to_dict(), indent=2))
    if arguments.check:
        from ifllm_hf.alignment.labels.actions.acted_answers import messages_of
        from ifllm_hf.alignment.labels.check import check_labels

        show(check_labels(arguments.out, messages_of(folder)).text())
    return 0


def _refuse_what_does_not_go(arguments: argparse.Namespace) -> None:
    source = arguments.labels
    if source not in ("actions", "explicit"):
        raise ConfigError(
            f"--source {source} labels pairs by a behaviour model; --unpaired, --rules and "
            "--without go with --source actions, --unpaired also with explicit. Choose one of them"
        )
    if source == "explicit" and (arguments.rules or arguments.without):
        raise ConfigError(
            "--rules and --without choose among actions, and --source explicit takes clicks as "
            "they are. Add --source actions, or leave them out"
        )
    if source == "explicit" and arguments.judge_fold is not None:
        raise ConfigError("--judge-fold is of labels that somebody's clicks shape; leave it out")
    given = [name for name, usual in _OF_BEHAVIOR if getattr(arguments, name) != usual]
    if given:
        raise ConfigError(
            f"--{given[0]} belongs to a behaviour model, which --source {source} has not; leave it "
            "out"
        )
    if arguments.check and arguments.unpaired:
        raise ConfigError("--check holds pairs to their answers; leave it out with --unpaired")
