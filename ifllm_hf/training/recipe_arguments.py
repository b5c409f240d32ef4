"""What all recipes share: from YAML and command line to dataclasses, and the exit."""

from __future__ import annotations

import argparse
import difflib
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from ifllm_hf.errors import ConfigError, IFLLMError
from ifllm_hf.training.settings_file import read_yaml

logger = logging.getLogger(__name__)

RESUME = "the same command with --resume_from_checkpoint true goes on from the last checkpoint"
GOES_ON = "the same command goes on from here"
"""What to do after Ctrl-C, where checkpoints are kept and where all that is done is."""


def parse_recipe(
    classes: tuple[Any, ...],
    arguments: Sequence[str] | None = None,
    leave_out: frozenset[str] = frozenset(),
) -> tuple[Any, ...]:
    """Return one instance of each class; the command line overrides the YAML.

    Args:
        classes: Dataclasses, in the order of what is returned.
        arguments: The command line; default: that of this process.
        leave_out: Settings of another stage that the YAML may hold. They are taken out of a YAML
            that names `preference_loss`, hence is one of DPO; others are read as they are.

    Raises:
        ConfigError: The YAML cannot be read, has a setting that no class knows, or a number is NaN.
    """
    from trl import TrlParser

    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[-1:] == ["--config"]:
        raise ConfigError("--config has no value; name one of recipes/configs/*.yaml")
    parser = TrlParser(
        classes,
        usage="%(prog)s --config YAML [--SETTING VALUE ...]",
        description=sys.modules["__main__"].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if "--config" in given:
        at = given.index("--config")
        file = given.pop(at + 1)
        del given[at]
        parser.set_defaults_with_config(**_settings_of(file, known_settings(classes), leave_out))
    *parsed, left = parser.parse_args_into_dataclasses(given, return_remaining_strings=True)
    if left:
        near = difflib.get_close_matches(left[0].removeprefix("--"), known_settings(classes), n=1)
        raise ConfigError(
            f"{left[0]} is no setting; "
            + (f"did you mean --{near[0]}? " if near else "")
            + "--help lists all of them"
        )
    for settings in parsed:
        for f in fields(settings):
            value = getattr(settings, f.name, None)
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{f.name} is {value}; expected a finite number")
    return tuple(parsed)


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
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; {interrupted}\n")
        return 130
    text, code = (result, 0) if isinstance(result, str) else result
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stdout.write(f"{text}\n")
    return code
