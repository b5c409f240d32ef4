"""Release to finished folder: wall time and peak memory of a fresh process; what a push sends.

    IFLLM_BENCH_PUSHED=170 python tests/speed/run.py prepare

Of 170 sessions the last shard is nearly full, so most of it could be sent again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
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

PUSHED = int(os.environ.get("IFLLM_BENCH_PUSHED", "170"))
_SESSIONS = """
from pathlib import Path
from tests.helpers.made_up_sessions import write_session
for i in range(int(sys.argv[2])):
    write_session(Path(sys.argv[1]), i, steps=1580)  # 200 kB
"""
_PREPARE_SESSIONS = """
import pyarrow.parquet as pq
write = pq.write_table
if sys.argv[3] == "by number":
    pq.write_table = lambda *a, **o: write(*a, **{**o, "use_content_defined_chunking": False})
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""


def main() -> list[Row]:
    """Measure releases, then what a second push of sessions sends."""
    return _releases() + _second_push()


def _second_push() -> list[Row]:
    """Push sessions, then one more or one less, with pages that end by content and by number.

    Bytes are those of hf_xet: see `tests/helpers/hub/xet_store.py`.
    """
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.helpers.hub.xet_store import XetStore

    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["HF_XET_CACHE"] = f"{folder}/xet"
        run_python(_SESSIONS, f"{folder}/all", str(PUSHED + 1))
        files = sorted((place / "all").iterdir(), key=_began)
        states = {
            "before": files[:-1],
            "one more": files,
            "one less": files[: PUSHED // 2] + files[PUSHED // 2 + 1 : -1],
        }
        for state, kept in states.items():
            (place / state).mkdir()
            for file in kept:
                shutil.copyfile(file, place / state / file.name)
        for how in ("by content", "by number"):
            for state in states:
                run_python(_PREPARE_SESSIONS, f"{folder}/{state}", f"{folder}/{how} {state}", how)
            for state in list(states)[1:]:
                store = XetStore(place / f"store {how} {state}")
                for pushed in ("before", state):
                    sent = store.push(sorted((place / f"{how} {pushed}").rglob("*.parquet")))
                name = f"push, {state} of {PUSHED} sessions, pages {how}: new"
                rows.append(row(name, sent.new / 1e6, "MB", note=f"of {sent.total / 1e6:.1f} MB"))
    return rows


def _began(session: Path) -> float:
    with session.open(encoding="utf-8") as lines:
        return float(json.loads(lines.readline())["created_epoch_ms"])


def _releases() -> list[Row]:
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
