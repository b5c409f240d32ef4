"""`make ray-test`: ranks on a Ray cluster of two nodes, one of which is killed; not in CI.

    python -m tests.data.ranks.ray_run [arguments of pytest]

Ray (200 MB) is installed into an environment in a temporary folder, which sees that of the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[3]


def main() -> int:
    """Install, run, and return the exit status of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False, symlinks=True)
        here = {"base": folder, "platbase": folder}
        place = Path(sysconfig.get_path("purelib", "venv", vars=here))
        (place / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
        python = str(Path(sysconfig.get_path("scripts", "venv", vars=here)) / "python")
        pip = [sys.executable, "-m", "pip", "--python", python, "install"]
        subprocess.run([*pip, "--quiet", "--disable-pip-version-check", "ray>=2.60"], check=True)
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs"]
        command += ["tests/data/ranks/test_clusters.py", "-k", "ray", *sys.argv[1:]]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, "PYTHONPATH": path}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
