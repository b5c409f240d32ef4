"""Scripts in a process of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def python(script: str, cwd: Path, home: Path, **env: str) -> Any:
    """What a fresh process without network prints, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def with_package() -> dict[str, str]:
    """Return an environment in which a child finds the package, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
