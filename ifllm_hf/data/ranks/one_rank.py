"""One rank, as a cluster starts it: `python -m ifllm_hf.data.ranks.one_rank WORK RANK`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ifllm_hf.data.ranks.exchange import run_rank_at
from ifllm_hf.errors import IFLLMError
from ifllm_hf.remote_path import place_of


def main(arguments: Sequence[str]) -> int:
    """Run the rank that the command line names, of a working folder or an exchange."""
    if len(arguments) != 2 or not arguments[1].isdecimal():
        sys.stderr.write("usage: python -m ifllm_hf.data.ranks.one_rank WORK RANK\n")
        return 2
    try:
        run_rank_at(place_of(arguments[0]), int(arguments[1]))
    except (IFLLMError, OSError) as error:
        sys.stderr.write(f"rank {arguments[1]}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
