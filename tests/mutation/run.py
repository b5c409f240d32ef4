"""Change one place at a time and see whether a test fails: `make mutation-test`.

    python -m tests.mutation.run [ROOM ...] [--seed 1] [--size 60] [--minutes 30] [--workers 1]

cosmic-ray and coverage are fetched into a temporary folder unless they can be imported. Results lie
in `build/mutation/`, one JSON line each; a second run goes on, and tries survivors again once tests
have changed. The working tree is never changed: mutants live in a copy.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from ifllm_hf.files import digest
from tests.mutation.covering import Covering
from tests.mutation.report import HEAD, KILLED, SURVIVED, UNCLEAR, equivalents, survivors, tally
from tests.mutation.rooms import ROOMS, ROOT, Room
from tests.mutation.sample import Mutant, draw

_TOOLS = ("cosmic-ray~=8.4", "coverage>=7.6")
_RESULTS = ROOT / "build" / "mutation"
_KEY = ("file", "line", "operator", "occurrence", "source")
_LONGEST_S = 120.0
_TOO_LONG = -signal.SIGKILL


def main() -> int:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("rooms", nargs="*", choices=[*ROOMS, []], default=[])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=60, help="mutants of each room")
    parser.add_argument("--minutes", type=float, default=30, help="for the mutants of each room")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2))
    asked = parser.parse_args()
    if importlib.util.find_spec("cosmic_ray") is None:
        return _again_with_tools()
    _RESULTS.mkdir(parents=True, exist_ok=True)
    listed = equivalents()
    rows = []
    for name in asked.rooms or ROOMS:
        results = _run_room(name, ROOMS[name], asked)
        print(*survivors(results, listed), sep="\n", flush=True)  # noqa: T201
        rows.append(tally(results, listed).line(name))
    print(HEAD, *rows, sep="\n")  # noqa: T201
    return 0


def _again_with_tools() -> int:
    """Fetch the tools into a temporary folder and start again with them."""
    with tempfile.TemporaryDirectory() as tools:
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "--target", tools, *_TOOLS], check=True)
        path = os.pathsep.join(filter(None, (tools, os.environ.get("PYTHONPATH"))))
        again = [sys.executable, "-m", "tests.mutation.run", *sys.argv[1:]]
        return subprocess.run(
            again, env={**os.environ, "PYTHONPATH": path}, cwd=ROOT, check=False
        ).returncode


def _run_room(name: str, room: Room, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Try what has no result yet, and return the last result of each mutant of the sample."""
    file = _RESULTS / f"{name}-{asked.seed}.jsonl"
    judged_by = _state_of((*room.tests, "tests/helpers", "tests/mutation/covering.py"))
    with _copies(asked.workers) as copies:
        covering = _covering(name, room, judged_by, copies)
        mutants = draw(room, covering, asked.size, asked.seed)
        known = _read(file)
        todo = [
            m
            for m in mutants
            if (r := known.get(_key(vars(m)))) is None
            or (r["status"] != KILLED and r["judged_by"] != judged_by)
        ]
        deadline = time.monotonic() + 60 * asked.minutes

        def one(mutant: Mutant) -> None:
            if time.monotonic() > deadline:
                return
            copy = copies.get()
            result = {**_try(mutant, copy), "judged_by": judged_by}
            copies.put(copy)
            with file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(result) + "\n")
            print(f"{name} {result['status']}: {mutant.file}:{mutant.line}", flush=True)  # noqa: T201

        with ThreadPoolExecutor(asked.workers) as pool:
            list(pool.map(one, todo))
    known = _read(file)
    return [known[key] for m in mutants if (key := _key(vars(m))) in known]


def _key(result: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(result[name] for name in _KEY)


def _read(file: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the last result of every mutant."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    return {_key(result): result for result in map(json.loads, lines)}


def _state_of(places: tuple[str, ...]) -> str:
    """Return a digest of some files and of all files of some folders."""
    found = [ROOT / place for place in places]
    files = sorted(f for p in found for f in ([p] if p.is_file() else p.rglob("*.py")))
    return digest("".join(f"{f}\n{f.read_text('utf-8')}" for f in files))


@contextmanager
def _copies(count: int) -> Iterator[SimpleQueue[Path]]:
    """Copy the working tree, without what git ignores, once for each worker."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout.split("\0")
    copies: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for i in range(count):
            copy = Path(place) / str(i) / "tree"
            for name in filter(None, listed):
                if (ROOT / name).is_file():  # else deleted, and not committed yet
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, copy / name)
            # By content: a mutant is as long as the file, and written in the same second.
            compiled = ("-q", "--invalidation-mode", "checked-hash", "ifllm_hf", "spaces")
            subprocess.run([sys.executable, "-m", "compileall", *compiled], cwd=copy, check=True)
            copies.put(copy)
        yield copies


def _covering(name: str, room: Room, judged_by: str, copies: SimpleQueue[Path]) -> Covering:
    """Run all tests of a room once and note which run which line; kept until a file changes."""
    sources = room.sources()
    state = digest(
        judged_by + _state_of(("ifllm_hf", "spaces")) + os.environ.get("IFLLM_RELEASE", "")
    )
    kept = _RESULTS / f"{name}-{state[:16]}.covering.json"
    if not kept.exists():
        copy = copies.get()
        watch = {"IFLLM_COVERING": str(kept), "IFLLM_COVERED_FILES": "\n".join(sources)}
        _, words = _pytest(copy, ["-p", "tests.mutation.covering", *room.tests], 3600.0, watch)
        copies.put(copy)
        if not kept.exists():
            raise SystemExit(f"{name}: its tests could not be watched:\n{words}")
        print(f"{name}: {words.strip().splitlines()[-1]}", flush=True)  # noqa: T201
    return Covering(json.loads(kept.read_text("utf-8")))


def _try(mutant: Mutant, copy: Path) -> dict[str, Any]:
    """Judge one mutant."""
    limit_s = min(_LONGEST_S, 60 + 3 * mutant.seconds)
    file, tests = copy / mutant.file, ["-x", *mutant.tests]
    unchanged, start = file.read_text("utf-8"), time.monotonic()
    file.write_text(mutant.code(), encoding="utf-8")
    try:
        code, words = _pytest(copy, tests, limit_s)
    finally:
        file.write_text(unchanged, encoding="utf-8")
    seconds = time.monotonic() - start
    status = {0: SURVIVED, 1: KILLED}.get(code)
    if status is None:
        # Too long, or no test came to run: the change did it if all is well without it.
        clean = _pytest(copy, tests, limit_s / 3 if code == _TOO_LONG else limit_s)[0]
        status = KILLED if clean == 0 else UNCLEAR
    failed = [line for line in words.splitlines() if line.startswith(("FAILED", "ERROR", "E  "))]
    return {
        **{name: value for name, value in vars(mutant).items() if name != "tests"},
        "tests": len(mutant.tests),
        "status": status,
        "by": failed[-1] if failed else f"exit status {code}",
        "seconds": round(seconds, 1),
    }


def _pytest(
    copy: Path, arguments: list[str], limit_s: float, more: dict[str, str] | None = None
) -> tuple[int, str]:
    """Run pytest in a copy; return its exit status, `_TOO_LONG`, and its last words."""
    options = ["-q", "--tb=line", "-p", "no:cacheprovider", f"--basetemp={copy.parent / 'temp'}"]
    path = [str(copy), str(copy / "spaces"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "CI": "true",  # the same examples in every run
        **(more or {}),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        words, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)  # it tidies up: a test may have mounted something
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it and what it started
        words, _ = process.communicate()
        return _TOO_LONG, words
    return process.returncode, words


if __name__ == "__main__":
    raise SystemExit(main())
