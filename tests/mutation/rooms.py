"""The rooms whose tests are put to the test: the code on which every published number rests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Room:
    """What is changed, and what has to notice.

    Attributes:
        files: Patterns of the files that are changed, from the root.
        tests: Files and folders of tests that judge them, from the root.
    """

    files: tuple[str, ...]
    tests: tuple[str, ...]

    def sources(self) -> list[str]:
        """Return the files that are changed, from the root, sorted."""
        found = {file for pattern in self.files for file in ROOT.glob(pattern)}
        return sorted(file.relative_to(ROOT).as_posix() for file in found)


ROOMS = {
    "data": Room(
        files=(
            "ifllm_hf/data/ticks/*.py",
            "ifllm_hf/data/tables/folds.py",
            "ifllm_hf/data/tables/workers.py",
        ),
        tests=("tests/data",),
    ),
    "alignment": Room(
        files=(
            "ifllm_hf/alignment/labels/*.py",
            "ifllm_hf/alignment/dpo/losses.py",
            "ifllm_hf/alignment/pairs/*.py",
        ),
        tests=("tests/alignment/labels", "tests/alignment/dpo", "tests/alignment/pairs"),
    ),
    "metrics": Room(files=("ifllm_hf/metrics/*.py",), tests=("tests/metrics",)),
    "server": Room(
        files=(
            "ifllm_hf/capture/server/append_log.py",
            "ifllm_hf/capture/server/batch_index.py",
            "ifllm_hf/capture/server/identity.py",
            "ifllm_hf/capture/server/session_folder.py",
            "ifllm_hf/capture/server/store.py",
            "ifllm_hf/capture/server/withdrawal.py",
            "ifllm_hf/data/sessions/session_file.py",
        ),
        tests=("tests/capture/server", "tests/data/sessions"),
    ),
    "reward": Room(
        files=("ifllm_hf/reward/baselines/late_reading.py", "ifllm_hf/reward/model/*.py"),
        tests=("tests/reward",),
    ),
}


def mirrored_folder(source: str) -> str:
    """Return the folder of tests that mirrors the folder of a source."""
    return PurePosixPath("tests", *PurePosixPath(source).parent.parts[1:]).as_posix()


def mirrored(source: str, test: str) -> bool:
    """Tell whether a test (its id) stands in the file that mirrors a source."""
    file = PurePosixPath(test.partition("::")[0])
    beginning = f"test_{PurePosixPath(source).stem}_"
    return file.parent.as_posix() == mirrored_folder(source) and f"{file.stem}_".startswith(
        beginning
    )
