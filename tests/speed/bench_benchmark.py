"""The benchmark itself, quick and full, on the real release; and fits of the slowest models."""

from __future__ import annotations

import os
import tempfile

from measuring import Row, release, row, run_python

_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""
_RUN = """
from ifllm_hf.benchmark.run import run_benchmark
from ifllm_hf.plot.benchmark_report import draw_report as draw
if __name__ == "__main__":
    quick = sys.argv[2] == "quick"
    run_benchmark(sys.argv[1], quick=quick, out=sys.argv[3], draw=draw, progress=False)
"""
_TARGETS = {"quick": 60.0, "full": 900.0}


def main() -> list[Row]:
    """Measure wall time, CPU time as a note; the full run only where $IFLLM_BENCH_FULL is set."""
    source = release()
    if source is None:
        return [row("ifllm benchmark", None, note="$IFLLM_RELEASE is not set")]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        run_python(_PREPARE, str(source), f"{place}/ifllm")
        for kind, target in _TARGETS.items():
            name = f"ifllm benchmark, {kind}, wall"
            if kind == "full" and not os.environ.get("IFLLM_BENCH_FULL"):
                rows.append(row(name, None, note="set $IFLLM_BENCH_FULL to run it"))
                continue
            wall, cpu, memory = run_python(_RUN, f"{place}/ifllm", kind, f"{place}/{kind}")
            rows.append(row(name, wall, "s", target, f"CPU {cpu:.0f} s"))
            rows.append(row(f"ifllm benchmark, {kind}, peak memory", memory, "GB", 2.5))
    return rows
