"""Draw where reading ends and print what the pointer still tells; see `docs/reading-end.md`.

python dataset_card/reading_end.py --data ./ifllm --out docs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ifllm_hf.errors import IFLLMError
from ifllm_hf.hub.cards.reading_end import write_reading_end


def main() -> int:
    """Parse, write, print."""
    parser = argparse.ArgumentParser(description="Draw where reading ends.")
    parser.add_argument("--data", type=Path, default=Path("ifllm"), help="a prepared folder")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        text = write_reading_end(arguments.data, arguments.out, seed=arguments.seed)
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
