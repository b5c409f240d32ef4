"""Write the card and the figures of a prepared folder anew.

    python dataset_card/build.py ./ifllm --report report.json

`ifllm prepare` does the same at its end. The report is what `ifllm prepare --json` prints; with it,
the card also says what was repaired and dropped on the way.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from ifllm_hf.data.marker import is_prepared
from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards.dataset_card import rewrite_card
from ifllm_hf.training.recipe_arguments import recipe_main

_EXPECTED = "Expected the output of `ifllm prepare --json`."


def run() -> str:
    """Parse the command line and write the card; return where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what `ifllm prepare` wrote")
    parser.add_argument("--report", type=Path, help="output of `ifllm prepare --json`")
    arguments = parser.parse_args()
    if not is_prepared(arguments.folder):
        raise TableError(
            f"{arguments.folder}: not a prepared folder. Write one with `ifllm prepare`."
        )
    report = _read_report(arguments.report) if arguments.report else None
    return str(rewrite_card(arguments.folder, report))


def _read_report(path: Path) -> dict[str, object]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: cannot be read as JSON ({error}). {_EXPECTED}") from error
    if not isinstance(report, dict):
        raise TableError(f"{path}: holds a {type(report).__name__}. {_EXPECTED}")
    return report


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted="run it again"))
