"""Release to finished folder: wall time and peak memory of a fresh process."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

from measuring import Row, release, row, run_python

_PREPARE = """
from ifllm_hf.data.prepare import prepare
from ifllm_hf.hub.dataset_card import write_card
prepare(sys.argv[1], sys.argv[2], progress=False, card=write_card)
"""


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
    return rows
