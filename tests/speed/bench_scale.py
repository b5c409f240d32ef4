"""Ten times the data: time in proportion, memory that does not grow with the conversations."""

from __future__ import annotations

import tempfile

from measuring import Row, row, run_python

SMALL, TIMES = 60, 10
_WRITE = """
from pathlib import Path
from ifllm_hf.data.synthetic import write_synthetic_release
write_synthetic_release(Path(sys.argv[1]), conversations=int(sys.argv[2]), seed=1)
"""
_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""


def main() -> list[Row]:
    """Prepare two synthetic releases of the same make."""
    figures = []
    with tempfile.TemporaryDirectory() as place:
        for n in (SMALL, SMALL * TIMES):
            run_python(_WRITE, f"{place}/release-{n}", str(n))
            figures.append(run_python(_PREPARE, f"{place}/release-{n}", f"{place}/out-{n}"))
    (wall, _, memory), (wall_big, _, memory_big) = figures
    return [
        row(
            f"{TIMES} times the conversations, times the wall time",
            wall_big / wall,
            "x",
            11,
            f"{wall:.1f} s for {SMALL}, {wall_big:.1f} s for {SMALL * TIMES}",
        ),
        row(
            f"{TIMES} times the conversations, times the peak memory",
            memory_big / memory,
            "x",
            2,
            f"{memory:.2f} GB and {memory_big:.2f} GB; a chunk is up to 0.1 GB",
        ),
    ]
