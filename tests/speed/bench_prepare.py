"""Release to finished folder: wall time and peak memory of a fresh process."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from measuring import Row, release, row, run_python

_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.hub.cards.dataset_card import write_card
prepare(sys.argv[1], sys.argv[2], progress=False, card=write_card)
"""

# The peer: the standard csv module, which only splits the behaviour files (and loses rows). On the
# machine of the targets it took 7.6 s, so 15 s are 1.97 times as long; shared machines vary.
_CSV = """
import csv
from pathlib import Path
for file in Path(sys.argv[1]).rglob("user_behavior/*/*/*.csv"):
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        for _ in csv.reader(lines):
            pass
"""
_CSV_TIMES = 15 / 7.6


def main() -> list[Row]:
    """Measure from the folder and from the archive."""
    source = release()
    if source is None:
        return [row("release to ./ifllm", None, note="$IFLLM_RELEASE is not set")]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = source
        if source.is_file():
            wall, cpu, memory = run_python(_PREPARE, str(source), f"{place}/from_archive")
            rows.append(row("archive to ./ifllm, wall", wall, "s", 40, f"CPU {cpu:.1f} s"))
            rows.append(row("archive to ./ifllm, peak memory", memory, "GB", 2.5))
            folder = Path(place) / "unpacked"
            with tarfile.open(source) as archive:
                archive.extractall(folder, filter="data")
            folder = next(folder.iterdir())
        wall, cpu, memory = run_python(_PREPARE, str(folder), f"{place}/from_folder")
        rows.append(row("folder to ./ifllm, wall", wall, "s", 15, f"CPU {cpu:.1f} s"))
        rows.append(row("folder to ./ifllm, peak memory", memory, "GB", 2.5))
        peer, _, _ = run_python(_CSV, str(folder))
        rows.append(
            row(
                "folder to ./ifllm, times the csv module alone",
                wall / peer,
                "x",
                _CSV_TIMES,
                f"csv alone {peer:.1f} s",
            )
        )
    return rows
