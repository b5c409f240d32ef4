"""Measure speed and memory against the targets: `make bench`, or this file with names of parts.

    python tests/speed/run.py                # every part
    python tests/speed/run.py prepare load   # bench_prepare.py and bench_load.py
    python tests/speed/run.py card           # on_card/run.py: fifteen minutes on one GPU

Each part is a file `bench_<part>.py` with `main() -> list[Row]`. Parts that need the real release
take `$IFLLM_RELEASE` (an archive or a folder) and say so where it is missing. Results go to
`outputs/bench.json` too.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main() -> int:
    if sys.argv[1:2] == ["card"]:
        on_card: int = importlib.import_module("on_card.run").main(sys.argv[2:])
        return on_card
    names = sys.argv[1:] or [
        file.stem.removeprefix("bench_") for file in sorted(HERE.glob("bench_*"))
    ]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    sys.stdout.write(f"{machine}; load before: {os.getloadavg()[0]:.1f}\n")
    rows: list[dict[str, Any]] = []
    for name in names:
        if not (HERE / f"bench_{name}.py").exists():
            sys.stderr.write(f"no part {name!r} in {HERE}\n")
            return 2
        for row in importlib.import_module(f"bench_{name}").main():
            rows.append({"part": name, **row})
            sys.stdout.write(_line(rows[-1]) + "\n")
            sys.stdout.flush()
    out = Path("outputs/bench.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    missed = [row for row in rows if row.get("met") is False]
    sys.stdout.write(f"{len(rows)} figures, {len(missed)} beyond their target; {out}\n")
    return 0


def _line(row: dict[str, Any]) -> str:
    if row.get("value") is None:
        return f"{row['part']:>10}  {row['name']:<58} skipped: {row['note']}"
    target = "" if row.get("target") is None else f"target {row['target']:g}"
    verdict = {True: "met", False: "MISSED", None: ""}[row.get("met")]
    note = f"  ({row['note']})" if row.get("note") else ""
    return (
        f"{row['part']:>10}  {row['name']:<58} {row['value']:>9.3f} {row['unit']:<6} "
        f"{target:<14} {verdict}{note}"
    )


if __name__ == "__main__":
    sys.exit(main())
