"""Take the answer for the public release over from its report, into the package and its pages.

    ifllm benchmark --out docs/benchmark --overwrite
    python dataset_card/released_answer.py

README, the dataset card and that of the model in the package then say what `ifllm benchmark` prints
first, from the same function.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ifllm_hf.benchmark.report import released
from ifllm_hf.errors import DataError
from ifllm_hf.files import write_whole
from ifllm_hf.reward.pretrained.shipped import pretrained
from ifllm_hf.training.recipe_arguments import recipe_main

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", pretrained() / "README.md")
BEGIN, END = "<!-- released answer -->", "<!-- end of released answer -->"


def run() -> str:
    """Parse the command line, write both; return the answer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "benchmark" / "report.json")
    report: Path = parser.parse_args().report
    try:
        rows = released.needed(json.loads(report.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{report}: cannot be read ({error}); expected `report.json` of `ifllm benchmark --out`"
        ) from error
    if len(rows) != len(released.NAMES) * len(released.SUBSETS):
        raise DataError(
            f"{report}: {len(rows)} rows of the answer; expected the report of a run on the whole "
            "public release"
        )
    write_whole(released.RELEASED, json.dumps(rows, indent=1) + "\n")
    for page in PAGES:
        write_whole(page, with_answer(page.read_text(encoding="utf-8")))
    return released.four_lines()


def with_answer(text: str) -> str:
    """Return a Markdown page with the answer between its marks."""
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    said = f"{released.known()}\n\n```\n{released.four_lines()}\n```"
    return f"{head}{BEGIN}\n{said}\n{END}{tail}"


if __name__ == "__main__":
    sys.exit(recipe_main(run, interrupted="run it again"))
