"""What all recipes share: from YAML and command line to dataclasses, and the exit."""

from __future__ import annotations

import argparse
import difflib
import json
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from yaml import YAMLError

from ifllm_hf.errors import ConfigError, IFLLMError, missing_extra
from ifllm_hf.files import write_whole
from ifllm_hf.training.checkpoints import AUTO, finished_run
from ifllm_hf.training.launch import check_launch
from ifllm_hf.training.settings_file import find_settings, read_yaml
from ifllm_hf.training.without_config import FOUND, choose_start, say, with_found_data

logger = logging.getLogger(__name__)

RESUME = f"the same command with --resume_from_checkpoint {AUTO} goes on from the last checkpoint"
GOES_ON = "the same command goes on from here"
"""What to do after Ctrl-C, where checkpoints are kept and where all that is done is."""


def parse_recipe(
    classes: tuple[Any, ...],
    arguments: Sequence[str] | None = None,
    leave_out: frozenset[str] = frozenset(),
    *,
    stage: str | None = None,
) -> tuple[Any, ...]:
    """Return one instance of each class; the command line overrides the YAML.

    Args:
        classes: Dataclasses, in the order of what is returned.
        arguments: The command line; default: that of this process.
        leave_out: Settings of another stage that the YAML may hold. They are taken out of a YAML
            that names `preference_loss`, hence is one of DPO; others are read as they are.
        stage: Where neither a YAML nor a model is named: choose those of this stage for this
            machine; see `without_config`.

    Raises:
        ConfigError: The YAML cannot be read, has a setting that no class knows, or a number is NaN;
            or the launch would train something else (`check_launch`).
        Finished: The run that was chosen is done already.
    """
    from trl import TrlParser

    file, given = split_config(sys.argv[1:] if arguments is None else arguments)
    parser = TrlParser(
        classes,
        usage="%(prog)s [--config YAML, or the name of one in recipes/] [--SETTING VALUE ...]",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    named = {word[2:].partition("=")[0] for word in given if word.startswith("--")}
    chooses = stage is not None and file is None and "model_name_or_path" not in named
    start = choose_start(str(stage)) if chooses and not {"-h", "--help"} & {*given} else None
    if start is not None:
        file = str(start.file)
    if file is not None:
        settings = _settings_of(file, known_settings(classes), leave_out)
        parser.set_defaults_with_config(**{**settings, **(start.settings if start else {})})
    try:
        *parsed, left = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    except ValueError as error:  # of transformers and TRL: settings that contradict each other
        raise ConfigError(" ".join(str(error).split())) from error
    if left:
        known = [*known_settings(classes), "config"]
        name = left[0].removeprefix("--").partition("=")[0]
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"{left[0]} is no setting; "
            + (f"did you mean --{near[0]}? " if near else "")
            + "--help lists all of them"
        )
    for part in parsed:
        for f in fields(part):
            value = getattr(part, f.name, None)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{f.name} is {value}; expected a finite number")
    training = [part for part in parsed if hasattr(part, "resume_from_checkpoint")]
    for part in training:
        check_launch(part)
    parsed = [
        with_found_data(part, str(stage), named) if getattr(part, "dataset", "") == FOUND else part
        for part in parsed
    ]
    others = [part for part in parsed if part not in training]
    if training and (done := finished_run(training[0], *others)) is not None:
        raise Finished(done)
    return tuple(parsed)


class Finished(Exception):  # noqa: N818  (nothing is wrong)
    """The run that was asked for is done already."""


def split_config(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Take `--config FILE` or `--config=FILE` out of a command line; see `find_settings`.

    Raises:
        ConfigError: It has no value, or stands there twice.
    """
    file, rest = None, []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name != "--config":
            rest.append(word)
            continue
        if file is not None:
            raise ConfigError("--config stands there twice; name one YAML")
        file = value if equals else next(words, "")
        if not file or file.startswith("--"):
            raise ConfigError("--config has no value; name one of recipes/configs/*.yaml")
    return None if file is None else find_settings(file), rest


def _settings_of(file: str, known: set[str], leave_out: frozenset[str]) -> dict[str, Any]:
    """Return the settings of a YAML without those of another stage; `env` is set."""
    settings = read_yaml(file)
    if "preference_loss" in settings:
        gone = [name for name in settings if name in leave_out]
        if gone:
            logger.info("%s: not of this stage: %s", file, ", ".join(gone))
        settings = {k: v for k, v in settings.items() if k not in leave_out}
    environment = settings.pop("env", {})
    if not isinstance(environment, dict):
        raise ConfigError(f"{file}: env is {environment!r}; expected `NAME: value` on each line")
    os.environ.update({name: str(value) for name, value in environment.items()})
    unknown = [str(name) for name in settings if name not in known]
    if unknown:
        raise ConfigError(
            f"{file}: unknown settings {', '.join(unknown)}; remove them, or see --help for the "
            "right names"
        )
    return settings


def known_settings(classes: tuple[Any, ...]) -> set[str]:
    """Return the names of all settings that can be given."""
    return {f.name for cls in classes for f in fields(cls) if f.init}


def recipe_main(
    run: Callable[[], str | tuple[str, int]],
    *,
    level: int = logging.INFO,
    interrupted: str = RESUME,
) -> int:
    """Run a script as a command: words on stderr, its result on stdout.

    Args:
        run: Parses the command line, works, and returns what to print: the result's folder, say.
            With a number: the exit code of a result that is not whole.
        level: What is logged from.
        interrupted: What to do after Ctrl-C.

    Returns:
        The exit code: 0, 1 after an error that the message explains, 130 after Ctrl-C.
    """
    if not {"--help", "-h"} & set(sys.argv):
        logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(message)s")
    for name in ("httpx", "httpx2", "datasets", "transformers", "accelerate", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It says at every start that an optional kernel is not there; NF4 works without.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # TRL 1.16 uses names that transformers 5 deprecates; nothing a user of a recipe can change.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
    try:
        result = run()
    except Finished as done:
        say(f"done before: {done} holds the finished run; another place: --output_dir FOLDER")
        result = str(done)
    except (IFLLMError, OSError, YAMLError, ImportError, RuntimeError) as error:
        said = missing_extra(error)
        if said is None:
            if isinstance(error, (ImportError, RuntimeError)):
                raise  # a defect: ours, or of a library
            said = " ".join(str(error).split())
        _tell_launcher(said)
        sys.stderr.write(f"error: {said}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {interrupted}\n")
        return 130
    text, code = (result, 0) if isinstance(result, str) else result
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stdout.write(f"{text}\n")
    return code


def _tell_launcher(said: str) -> None:
    """Let the launcher of several processes (torchrun) name the error in what it prints last."""
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        told = {"message": said, "extraInfo": {"timestamp": str(int(time.time()))}}
        write_whole(Path(file), json.dumps({"message": told}))
