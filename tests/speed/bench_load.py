"""Loading again, and all ticks of `pairwise` as numpy."""

from __future__ import annotations

import os
import tempfile

from measuring import Row, release, row, run_python

_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""
_TIMES = """
import os, time
os.environ["HF_DATASETS_CACHE"] = sys.argv[2]
from datasets import disable_progress_bars, load_dataset
disable_progress_bars()
load_dataset(sys.argv[1])
start = time.perf_counter()
data = load_dataset(sys.argv[1], split="train")
print(time.perf_counter() - start)
from ifllm_hf import ticks_to_numpy
start = time.perf_counter()
arrays = ticks_to_numpy(data)
print(time.perf_counter() - start, len(arrays["t_ms"]))
"""


def main() -> list[Row]:
    """Measure on the real release."""
    source = release()
    if source is None:
        return [row("load again", None, note="$IFLLM_RELEASE is not set")]
    import subprocess
    import sys

    with tempfile.TemporaryDirectory() as place:
        run_python(_PREPARE, str(source), f"{place}/ifllm")
        done = subprocess.run(
            [sys.executable, "-c", "import sys\n" + _TIMES, f"{place}/ifllm", f"{place}/cache"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    again, arrays = done.stdout.split("\n")[:2]
    seconds, ticks = arrays.split()
    return [
        row("load_dataset again, same process", float(again), "s", 0.1),
        row("all ticks of pairwise as numpy", float(seconds), "s", 1.0, f"{int(ticks):,} ticks"),
    ]
