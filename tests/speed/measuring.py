"""What the parts share: rows, and commands measured as whole processes."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def row(
    name: str,
    value: float | None,
    unit: str = "",
    target: float | None = None,
    note: str = "",
    *,
    at_most: bool = True,
) -> Row:
    """Return one figure; it meets its target if it is at most (or at least) that."""
    met: bool | None = None
    if value is not None and target is not None:
        met = value <= target if at_most else value >= target
    return {"name": name, "value": value, "unit": unit, "target": target, "met": met, "note": note}


def release() -> Path | None:
    """Return the real release, or None where the machine has none."""
    named = os.environ.get("IFLLM_RELEASE")
    return Path(named) if named else None


def run_python(code: str, *arguments: str) -> tuple[float, float, float]:
    """Run code in a fresh Python; return wall seconds, CPU seconds and peak memory in GB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    script = (
        "import resource, sys\n"
        f"{code}\n"
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, float(done.stderr.split()[-1]) / 1e6
