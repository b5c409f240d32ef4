"""Fetch the tests of the installed transformers, and run them on our models: `make peers-test`.

    python -m tests.peers.run [arguments of pytest]

A folder with the unpacked distribution in `IFLLM_PEERS` is used instead of fetching it.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

CASES = ("common_models.py", "common_processor.py")
# Not in the distribution, and imported by what is there.
_LEFT_OUT = {
    "__init__.py": "",
    "exporters/__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/__init__.py": "",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/__init__.py": "",
    "utils/test_configuration_utils.py": "config_common_kwargs = {}\n",
    "../fetch_hub_objects_for_ci.py": "def url_to_local_path(url):\n    return url\n",
}


def main() -> int:
    """Run, and return the exit status of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = os.environ.get("IFLLM_PEERS")
        tests = Path(source) / "tests" if source else _fetched(place)
        (place / "peers").mkdir()
        (place / "peers" / "transformers_tests").symlink_to(_completed(tests, place))
        _pip("install", "--target", str(place / "peers"), "--no-deps", "parameterized")
        here = Path(__file__).parent
        path = [str(place / "peers"), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default"]
        command += [*sys.argv[1:], *(str(here / c) for c in CASES)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
        return subprocess.run(command, env=environment, check=False).returncode


def _fetched(place: Path) -> Path:
    """Return the folder of tests in the source distribution of the installed version."""
    version = importlib.metadata.version("transformers")
    wanted = ("--no-binary", ":all:", "--no-deps", f"transformers=={version}")
    _pip("download", "--dest", str(place), *wanted)
    with tarfile.open(place / f"transformers-{version}.tar.gz") as archive:
        archive.extractall(place, filter="data")
    return place / f"transformers-{version}" / "tests"


def _completed(tests: Path, place: Path) -> Path:
    """Return a copy of the tests that can be imported."""
    import shutil

    copy = place / "completed"
    shutil.copytree(tests, copy)
    for name, text in _LEFT_OUT.items():
        file = copy / name if not name.startswith("../") else place / "peers" / name[3:]
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return copy


def _pip(*arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "pip", *arguments, *quiet], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
