"""Ten times the data: time in proportion, memory that does not grow with the conversations.

    IFLLM_BENCH_SESSIONS=2000 python tests/speed/run.py scale

Of fewer than 2,000 sessions of 20 kB the first shard is not full, so memory still grows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tempfile
from pathlib import Path

from measuring import Row, row, run_python

SMALL, TIMES = 60, 10
PACKED = 90  # sessions of 100 kB to 0.8 MB, none like another: copies would shrink too well
FEW = int(os.environ.get("IFLLM_BENCH_SESSIONS", "2000"))
_ORIGINALS = """
from pathlib import Path
from tests.helpers.made_up_sessions import write_session
for i in range(8):
    kind = "pairwise" if i % 4 else "pointwise"
    write_session(Path(sys.argv[1]), i, steps=int(sys.argv[2]), kind=kind)
"""
_STEPS = {20: 110, 200: 1580, 1000: 8000}  # by kB of a session of two turns
_AFTER = {
    "features": """
from ifllm_hf.behavior.features.by_shard import write_features
write_features(sys.argv[1], sys.argv[2])
""",
    "score": """
from ifllm_hf.reward.scoring.score_file import score_pairs_file
score_pairs_file(sys.argv[1], sys.argv[2], progress=False, say=lambda line: None)
""",
    "label": """
from ifllm_hf.alignment.labels.write import write_labels
write_labels(sys.argv[1], sys.argv[2], source="all", progress=False)
""",
}
"""What reads a prepared folder, by the name of its command."""
_AFTER_GB = {"features": 0.6, "score": 0.9, "label": 0.8}
"""A full shard of 64 MB, decoded, and the libraries; of `label` also some 10 kB for each click."""
_WRITE = """
from pathlib import Path
from ifllm_hf.data.synthetic import write_synthetic_release
write_synthetic_release(Path(sys.argv[1]), conversations=int(sys.argv[2]), seed=1)
"""
_PREPARE = """
from ifllm_hf.data.prepared.prepare import prepare
prepare(sys.argv[1], sys.argv[2], progress=False)
"""

_RANKS = """
import json, os, time
from pathlib import Path
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.rank import run_rank
from ifllm_hf.data.ranks.run import prepare_in_ranks, working_folder
source, out, workers = sys.argv[1:4]
def timed(work, rank):
    began, cpu = time.time(), time.process_time()
    run_rank(work, rank)
    took = [began, time.time(), time.process_time() - cpu, os.getpid()]
    (work / f"{rank}.time").write_text(json.dumps(took))
def engine(work, ranks, done):
    engine_for(int(workers), rank=timed)(work, ranks, done)
    ranks = [json.loads(file.read_text()) for file in work.glob("*.time")]
    span = max(rank[1] for rank in ranks) - min(rank[0] for rank in ranks)
    busy = max(sum(rank[2] for rank in ranks if rank[3] == pid) for pid in {r[3] for r in ranks})
    Path(out + ".took").write_text(json.dumps([span, busy]))
prepare_in_ranks(source, out, tasks=8, engine=engine, progress=False)
"""


_MAKE = """
from pathlib import Path
from tests.helpers.made_up_sessions import write_session
for i in range(int(sys.argv[2])):
    write_session(Path(sys.argv[1]), i, turns=5, steps=[300, 1200, 2500][i % 3])
"""
_PACKS = """
import json, time
from pathlib import Path
from ifllm_hf.data.sessions.packed import pack, take_out
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.data.sessions.stored import StoredSessions
folder = Path(sys.argv[1])
def timed(action):
    began = time.process_time()
    result = action()
    return result, time.process_time() - began
def read():
    stored = StoredSessions(folder)
    return stored, sum(len(stored.place(i).read_bytes()) for i in order)
def listed():
    return sum(1 for _ in StoredSessions(folder).first_lines())
stored = StoredSessions(folder)
first = {i: line["created_epoch_ms"] for i, line in stored.first_lines()}
order = sorted(first, key=first.get)
listed_loose = timed(listed)[1]
report, packing = timed(lambda: pack(folder, idle_hours=0, progress=False))
(stored, size), reading = timed(read)
listing = timed(listed)[1]
gone, withdrawing = timed(lambda: take_out(folder, {tombstone(order[0])}))
Path(sys.argv[2]).write_text(json.dumps({
    "bytes": size, "packed": report.n_bytes, "packing": packing, "reading": reading,
    "listing": listing, "listed_loose": listed_loose, "withdrawing": withdrawing,
}))
"""


def main() -> list[Row]:
    """Measure releases, collected sessions, then the same in ranks and in shards."""
    return _releases() + _sessions() + ranks() + packs()


def _releases() -> list[Row]:
    """Prepare two synthetic releases of the same make."""
    figures = []
    with tempfile.TemporaryDirectory() as place:
        for n in (SMALL, SMALL * TIMES):
            run_python(_WRITE, f"{place}/release-{n}", str(n))
            figures.append(run_python(_PREPARE, f"{place}/release-{n}", f"{place}/out-{n}"))
    (wall, _, memory), (wall_big, _, memory_big) = figures
    return [
        row(
            f"{TIMES} times the conversations, times the wall time",
            wall_big / wall,
            "x",
            11,
            f"{wall:.1f} s for {SMALL}, {wall_big:.1f} s for {SMALL * TIMES}",
        ),
        row(
            f"{TIMES} times the conversations, times the peak memory",
            memory_big / memory,
            "x",
            2,
            f"{memory:.2f} GB and {memory_big:.2f} GB; a chunk is up to 0.1 GB",
        ),
    ]


def _sessions() -> list[Row]:
    """Prepare folders of copies of a few made-up sessions; read the prepared ones."""
    figures, after = {}, {}
    for kb, count in (
        (20, FEW),
        (20, FEW * TIMES),
        (1000, max(3, FEW * 3 // 20)),
        (200, FEW // 10),
    ):
        with tempfile.TemporaryDirectory() as place:
            copies(Path(place) / "sessions", count, kb)
            figures[kb, count] = run_python(_PREPARE, f"{place}/sessions", f"{place}/out")
            if kb == 20:
                for name, code in _AFTER.items():
                    after[name, count] = run_python(code, f"{place}/out", f"{place}/{name}.parquet")
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
    for name in _AFTER:
        (_, cpu, few), (_, cpu_many, many) = after[name, FEW], after[name, FEW * TIMES]
        note = f"{few:.3f} GB of {FEW}; CPU {cpu:.1f} s and {cpu_many:.1f} s"
        what = f"`ifllm {name}` of {FEW * TIMES} sessions of 20 kB, peak memory"
        rows.append(row(what, many, "GB", _AFTER_GB[name], note))
    return rows


def ranks() -> list[Row]:
    """Prepare one folder in eight ranks, one at once and two: from the first rank's start on."""
    count, took, whole = max(8, FEW // 10), {}, {}
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as engines set it
    with tempfile.TemporaryDirectory() as place:
        copies(Path(place) / "sessions", count, 200)
        for at_once in (1, 2):
            out = f"{place}/out-{at_once}"
            whole[at_once], _, _ = run_python(_RANKS, f"{place}/sessions", out, str(at_once))
            took[at_once] = json.loads(Path(f"{out}.took").read_text())
    (span, cpu), (span_of_two, cpu_of_two) = took[1], took[2]
    load = os.getloadavg()[0]
    return [
        row(
            f"{count} sessions of 200 kB in ranks, two at once against one, start-up left out",
            span / span_of_two,
            "x",
            1.7,
            f"{span:.1f} s and {span_of_two:.1f} s; with start-up, listing and joining "
            f"{whole[1]:.1f} s and {whole[2]:.1f} s; load {load:.1f} on {os.cpu_count()} cores",
            at_most=False,
        ),
        row(
            "the same by CPU time: of one against the busier of two",
            cpu / cpu_of_two,
            "x",
            note=f"{cpu:.1f} s and {cpu_of_two:.1f} s; whatever else the cores do",
        ),
    ]


def copies(folder: Path, count: int, kb: int) -> None:
    """Write so many sessions, each a copy of one of eight under an id of its own."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as place:
        run_python(_ORIGINALS, place, str(_STEPS[kb]))
        files = sorted(Path(place).iterdir())
        originals = [(file.stem.encode(), file.read_bytes()) for file in files]
    for i in range(count):
        of_i = hashlib.sha256(str(i).encode()).digest()[:16]
        session_id = "s_" + base64.urlsafe_b64encode(of_i).decode().rstrip("=")
        former, content = originals[i % len(originals)]
        copy = content.replace(former, session_id.encode())
        (folder / f"{session_id}.jsonl").write_bytes(copy)


def packs() -> list[Row]:
    """Pack, list and read big sessions, and write their shard anew; list many small ones."""
    with tempfile.TemporaryDirectory() as place:
        run_python(_MAKE, f"{place}/big", str(PACKED))
        _, _, memory = run_python(_PACKS, f"{place}/big", f"{place}/big.json")
        big = json.loads(Path(f"{place}/big.json").read_text())
        copies(Path(place) / "many", 2 * FEW, 20)
        run_python(_PACKS, f"{place}/many", f"{place}/many.json")
        many = json.loads(Path(f"{place}/many.json").read_text())
    mb = big["bytes"] / 1e6
    what = f"{PACKED} sessions, {mb:.0f} MB"
    return [
        row(f"{what}: size in a shard", big["packed"] / big["bytes"], "x", 0.5),
        row(f"{what}: packed and read again, per CPU second", mb / big["packing"], "MB"),
        row(f"{what}: read in their order, per CPU second", mb / big["reading"], "MB"),
        row(f"{what}: written anew without one, per CPU second", mb / big["withdrawing"], "MB"),
        row(f"{what}: peak memory of all this", memory, "GB", 0.5),
        row(
            f"{2 * FEW} sessions: listed from shards, CPU",
            many["listing"],
            "s",
            note=f"{many['listed_loose']:.2f} s from files of their own, on a local disk",
        ),
    ]
