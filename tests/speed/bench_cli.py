"""`ifllm --help` answers at once."""

from __future__ import annotations

import subprocess
import sys
import time

from measuring import Row, row


def main() -> list[Row]:
    """Take the median of seven runs."""
    walls = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "ifllm_hf", "--help"], capture_output=True, check=True
        )
        walls.append(time.perf_counter() - start)
    return [row("ifllm --help, median of 7", sorted(walls)[3], "s", 0.5)]
