"""Draw where reading ends and print what the pointer still tells; see `docs/reading-end.md`.

python dataset_card/reading_end.py --data ./ifllm --out docs
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ifllm_hf.hub.cards.reading_end import write_reading_end
from ifllm_hf.training.arguments import recipe_main


def run() -> str:
    """Parse, draw and write; return the text."""
    parser = argparse.ArgumentParser(description="Draw where reading ends.")
    parser.add_argument("--data", type=Path, default=Path("ifllm"), help="a prepared folder")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    text = write_reading_end(arguments.data, arguments.out, seed=arguments.seed)
    return text.removesuffix("\n")


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted="run it again"))
