"""Collected sessions: memory that does not grow with their number, and sessions per second.

    PYTHONPATH=. IFLLM_BENCH_SESSIONS=2000 python tests/speed/run.py sessions

Of fewer than 2,000 sessions of 20 kB the first shard is not full, so memory still grows.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from pathlib import Path

from measuring import Row, row, run_python

from tests.helpers.made_up_sessions import write_session

FEW, TIMES = int(os.environ.get("IFLLM_BENCH_SESSIONS", "2000")), 10
_STEPS = {20: 110, 200: 1580, 1000: 8000}  # by kB of a session of two turns
_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""


def main() -> list[Row]:
    """Prepare folders of copies of a few made-up sessions."""
    figures = {}
    for kb, count in (
        (20, FEW),
        (20, FEW * TIMES),
        (1000, max(3, FEW * 3 // 20)),
        (200, FEW // 10),
    ):
        with tempfile.TemporaryDirectory() as place:
            copies(Path(place) / "sessions", count, kb)
            figures[kb, count] = run_python(_PREPARE, f"{place}/sessions", f"{place}/out")
    few, many = figures[20, FEW][2], figures[20, FEW * TIMES][2]
    rows = [
        row(f"{count} sessions of {kb} kB, peak memory", memory, "GB", 0.6, f"CPU {cpu:.1f} s")
        for (kb, count), (_, cpu, memory) in figures.items()
    ]
    note = f"{few:.3f} GB and {many:.3f} GB"
    rows.append(
        row(f"{TIMES} times the sessions, times the peak memory", many / few, "x", 1.1, note)
    )
    cpu = figures[200, FEW // 10][1]
    rows.append(row("sessions of 200 kB per CPU second, with the start", FEW // 10 / cpu))
    return rows


def copies(folder: Path, count: int, kb: int, originals: int = 8) -> None:
    """Write so many sessions, each a copy of one of a few under an id of its own."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as place:
        made = [
            write_session(
                Path(place), i, steps=_STEPS[kb], kind="pairwise" if i % 4 else "pointwise"
            )
            for i in range(originals)
        ]
        contents = [(truth.session_id.encode(), truth.path.read_bytes()) for truth in made]
    for i in range(count):
        of_i = hashlib.sha256(str(i).encode()).digest()[:16]
        session_id = "s_" + base64.urlsafe_b64encode(of_i).decode().rstrip("=")
        former, content = contents[i % originals]
        copy = content.replace(former, session_id.encode())
        (folder / f"{session_id}.jsonl").write_bytes(copy)
