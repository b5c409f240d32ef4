"""Packed sessions: their size, and how fast they are packed, listed and read.

    python tests/speed/run.py pack

Sizes are of made-up sessions of 100 kB to 0.8 MB, none like another. Listing is measured on copies.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from bench_scale import copies
from measuring import Row, row, run_python

COUNT, LISTED = 90, int(os.environ.get("IFLLM_BENCH_SESSIONS", "4000"))
_MAKE = """
from pathlib import Path
from tests.helpers.made_up_sessions import write_session
for i in range(int(sys.argv[2])):
    write_session(Path(sys.argv[1]), i, turns=5, steps=[300, 1200, 2500][i % 3])
"""
_PACK = """
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
    """Measure big sessions, then the listing of many."""
    with tempfile.TemporaryDirectory() as place:
        run_python(_MAKE, f"{place}/big", str(COUNT))
        _, _, memory = run_python(_PACK, f"{place}/big", f"{place}/big.json")
        big = json.loads(Path(f"{place}/big.json").read_text())
        copies(Path(place) / "many", LISTED, 20)
        run_python(_PACK, f"{place}/many", f"{place}/many.json")
        many = json.loads(Path(f"{place}/many.json").read_text())
    mb = big["bytes"] / 1e6
    what = f"{COUNT} sessions, {mb:.0f} MB"
    return [
        row(f"{what}: size in a shard", big["packed"] / big["bytes"], "x", 0.5),
        row(f"{what}: packed and read again, per CPU second", mb / big["packing"], "MB"),
        row(f"{what}: read in their order, per CPU second", mb / big["reading"], "MB"),
        row(f"{what}: written anew without one, per CPU second", mb / big["withdrawing"], "MB"),
        row(f"{what}: peak memory of all this", memory, "GB", 0.5),
        row(
            f"{LISTED} sessions: listed from shards, CPU",
            many["listing"],
            "s",
            note=f"{many['listed_loose']:.2f} s from files of their own, on a local disk",
        ),
    ]
