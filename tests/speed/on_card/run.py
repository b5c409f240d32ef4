"""Fifteen minutes on one card: the eight true shapes, what matters most first.

    python tests/speed/run.py card                   # again: goes on with what is missing
    python tests/speed/run.py card --table           # Markdown of what is there
    python tests/speed/run.py card --device cpu      # the whole of it at an eighth of the size

Weights are random and made on the card, pairs are made up with the lengths of the IFLLM pairs:
nothing is downloaded. Each figure is measured in a process of its own (`cell.py`), so that
one that fails leaves the others alone: what it last said stands in the result, and it is tried
again after those that are missing. The result is written after each. What no longer fits the
minutes by its estimate (30 % of the card's peak, plus a start; at the pace of what was measured) is
left out, and named. QLoRA keeps checkpoints, as the recipes do; bf16 LoRA does without where the
longest batch fits the card.

*Equal memory*: of 1, 2, 4, ... pairs and one halfway, ours and TRL's each take the largest micro
batch whose longest answers train within the same memory: 16 GB for QLoRA, as the recipes promise,
and the card for bf16 LoRA.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from on_card.cell import Task
from on_card.table import FIRST, QLORA_GB, tables, targets

SPEED = Path(__file__).parents[1]
ROOT = SPEED.parents[1]
# Largest first: should one not fit 16 GB, it is one of these.
OTHERS = ("llama-3.2-3b", "qwen2.5-3b", "pythia-2.8b", "gpt2-xl", "qwen3-1.7b", "qwen2.5-1.5b",
          "olmo2-1b")  # fmt: skip
_PAIRS = 1000
_STEP_PAIRS, _TOKENS_OF_A_PAIR, _LONGEST_TOKENS = 16, 740, 2 * 1024
# Of the peak, and seconds for a start: imports, weights, the first step, the profiler.
_SHARE = {"cuda": 0.3, "cpu": 0.05}
_START_S = {"cuda": 30.0, "cpu": 15.0}
_LINES_OF_A_FAILURE = 30

Measure = Callable[[dict[str, Any], float], tuple[dict[str, Any], str | None]]


class CardError(Exception):
    """What ends the script with one line."""


def cells(here: dict[str, Any]) -> list[Task]:
    """Return all cells, most important first, for the device that `cell.look` saw."""
    card = here["device"] == "cuda"
    shrink = here["shrink"]
    # What is counted in bytes shrinks with two dimensions.
    room = (here["memory_gb"] or 140.0) / (1 if card else shrink**2)
    common: dict[str, Any] = {
        "device": here["device"], "shrink": shrink, "shorter": shrink, "card": here["card"],
        "peak_flops": here["peak_flops"], "pairs": max(8, _PAIRS // shrink**2),
    }  # fmt: skip
    if not card:
        common |= {"step_pairs": 4, "warm_up": 1, "steps": 2}
    caps = {"qlora": QLORA_GB / (1 if card else shrink**2), "lora": room}

    def equal(method: str, side: str) -> Task:
        return Task(FIRST, method, side, "equal", cap_gb=caps[method], **common)

    return [
        Task(FIRST, "qlora", **common),
        Task(FIRST, "lora", **common),
        Task(FIRST, "lora", kind="pairs", **common),
        *(equal("lora", side) for side in ("ours", "trl")),
        *(equal("qlora", side) for side in ("ours", "trl")),
        *(Task(name, "qlora", **common) for name in OTHERS),
        *(Task(name, "lora", **common) for name in OTHERS),
        Task(FIRST, "qlora", kind="pairs", **common),
        *(equal(method, "trl-grouped") for method in ("lora", "qlora")),
    ]


def estimate_s(task: Task, here: dict[str, Any]) -> float:
    """Return the seconds of a cell by arithmetic: its FLOP at 30 % of the peak, and a start.

    8 FLOP a weight and token with checkpointing, 6 without; a search trains on four times the
    longest batch; TRL computes padding too (40 % of a batch of the IFLLM pairs).
    """
    step_pairs = task.step_pairs or _STEP_PAIRS
    # The steps, and one whose launches are counted.
    usual = task.pairs + step_pairs if task.kind == "pairs" else step_pairs * (
        task.warm_up + task.steps + 1
    )  # fmt: skip
    longest = 4 * step_pairs if task.kind == "equal" else min(4, step_pairs)
    padded = 1.0 if task.side == "ours" else 1 / 0.6
    tokens = (usual * _TOKENS_OF_A_PAIR * padded + longest * _LONGEST_TOKENS) / task.shorter
    each = 8 if task.method == "qlora" else 6
    flops = each * here["multiplied"][task.shape] * tokens
    device = here["device"]
    return _START_S[device] + flops / (_SHARE[device] * here["peak_flops"])


def pace(cells: dict[str, dict[str, Any]]) -> float:
    """Return how long cells took, in estimates: the median of those that are done, at first 1."""
    took = [
        entry["seconds"] / entry["estimate_s"]
        for entry in cells.values()
        if entry["status"] == "done"
    ]
    return statistics.median(took) if took else 1.0


def measure(asked: dict[str, Any], timeout_s: float) -> tuple[dict[str, Any], str | None]:
    """Run `cell.py`; return what it found, and why it failed or None.

    Args:
        asked: A task, or what to look at.
        timeout_s: Seconds after which it is ended.
    """
    with tempfile.TemporaryDirectory() as place:
        task, found, words = (Path(place) / name for name in ("task.json", "found.json", "words"))
        if "shape" in asked:
            asked = {**asked, "started": time.time()}
        task.write_text(json.dumps(asked))
        failure = None
        with words.open("w") as out:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "on_card.cell", str(task), str(found)],
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    env=_environment(asked),
                    timeout=timeout_s,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                failure = f"ended after {timeout_s:.0f} s"
            else:
                if done.returncode:
                    failure = f"exit code {done.returncode}"
        if failure:
            last = words.read_text(errors="replace").replace("\r", "\n").splitlines()
            failure = "\n".join([failure, *last[-_LINES_OF_A_FAILURE:]])
        return (json.loads(found.read_text()) if found.exists() else {}), failure


def _environment(asked: dict[str, Any]) -> dict[str, str]:
    """One card at most, no network, and the package from this checkout."""
    path = os.pathsep.join(filter(None, (str(ROOT), str(SPEED), os.environ.get("PYTHONPATH"))))
    env = {"CUDA_VISIBLE_DEVICES": "0", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    device = asked.get("device") or asked.get("look", {}).get("device")
    if device == "cpu":
        env |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return env | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}


@dataclass
class Result:
    """The file that a run leaves and the next one goes on from.

    Attributes:
        file: Where.
        here: What `cell.look` saw.
        cells: By name: `status` (`done`, `failed`, `left out`), `found`, `why`, `seconds`.
    """

    file: Path
    here: dict[str, Any] = field(default_factory=dict)
    cells: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Result:
        """Return what is there, or an empty one.

        Raises:
            CardError: The file is something else.
        """
        if not file.exists():
            return cls(file)
        try:
            there = json.loads(file.read_text())
            return cls(file, there["here"], there["cells"])
        except (ValueError, KeyError, TypeError) as error:
            raise CardError(f"{file}: no result of this script; name another with --out") from error

    def go_on(self, here: dict[str, Any]) -> None:
        """Take what is here, as long as it is what the result is of.

        Raises:
            CardError: It is not.
        """
        for name in ("card", "shrink", "versions"):
            if self.here and self.here[name] != here[name]:
                raise CardError(
                    f"{self.file} is of {name} {self.here[name]}, here it is {here[name]}; name "
                    "another file with --out"
                )
        self.here = self.here or here

    def write(self) -> None:
        """Write it, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(".part")
        content = {
            "here": self.here,
            "targets": targets(self.here, self.cells),
            "cells": self.cells,
        }
        aside.write_text(json.dumps(content, indent=1) + "\n")
        aside.replace(self.file)


def run(
    result: Result, wanted: list[Task], deadline: float, measure: Measure = measure
) -> list[str]:
    """Measure what is missing, then what failed; return the names of what is still missing.

    Args:
        result: What there is; written after each cell.
        wanted: Most important first.
        deadline: Of `time.monotonic`.
        measure: Runs one task within some seconds.
    """
    status = {cell.key: result.cells.get(cell.key, {}).get("status") for cell in wanted}
    missing = [cell for cell in wanted if status[cell.key] not in ("done", "failed")]
    failed = [cell for cell in wanted if status[cell.key] == "failed"]
    for cell in [*missing, *failed]:
        estimate, left = estimate_s(cell, result.here), deadline - time.monotonic()
        needed = estimate * pace(result.cells)
        if needed > left:
            why = f"needs about {needed:.0f} s, and {max(0.0, left):.0f} s were left"
            if status[cell.key] != "failed":
                result.cells[cell.key] = {"status": "left out", "why": why}
                result.write()
            _say(f"{cell.key}: left out, {why}")
            continue
        start = time.monotonic()
        found, failure = measure(asdict(cell), min(left, 60 + 4 * needed))
        seconds = time.monotonic() - start
        entry = {"status": "done", "seconds": seconds, "estimate_s": estimate, "found": found}
        if failure and time.monotonic() >= deadline:
            entry |= {"status": "left out", "why": f"the minutes were over after {seconds:.0f} s"}
        elif failure:
            entry |= {"status": "failed", "why": failure}
        result.cells[cell.key] = entry
        result.write()
        _say(f"{cell.key}: {_in_words(entry)}; {seconds:.0f} s, estimated {needed:.0f}")
    done = {key for key, entry in result.cells.items() if entry["status"] == "done"}
    return [cell.key for cell in wanted if cell.key not in done]


def _in_words(entry: dict[str, Any]) -> str:
    found = entry["found"]
    if entry["status"] != "done":
        lines = entry["why"].splitlines()
        return f"{entry['status']}, {lines[0]}" + (f" ({lines[-1][:200]})" if lines[1:] else "")
    words = f"{found['pairs_per_s']:.2f} pairs/s, MFU {100 * found['mfu']:.0f} %"
    memory = found.get("longest_memory_gb")
    return words if memory is None else f"{words}, {memory:.2f} GB"


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {line}\n")
    sys.stderr.flush()


def here(device: str, shrink: int, timeout_s: float) -> dict[str, Any]:
    """Return what `cell.look` sees.

    Raises:
        CardError: It sees nothing.
    """
    found, failure = measure({"look": {"device": device, "shrink": shrink}}, timeout_s)
    if failure:
        raise CardError(f"the device cannot be looked at: {failure}")
    return found


def _place(device: str) -> Path:
    return Path("outputs") / ("card.json" if device == "cuda" else "card-cpu.json")


def main(arguments: list[str]) -> int:
    """Parse, measure, print the tables.

    Returns:
        The exit code: 0 when all is there, 3 when something is missing, 1 for a wrong argument.
    """
    try:
        return _main(arguments)
    except CardError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130


def _main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("run.py card", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--shrink", type=int, default=0, help="default: 8 on a CPU, else 1")
    parser.add_argument("--minutes", type=float, default=14.0, help="default: 14")
    parser.add_argument(
        "--out", type=Path, help="default: outputs/card.json; of a CPU, card-cpu.json"
    )
    parser.add_argument("--only", default="", help="cells whose name contains this")
    parser.add_argument("--table", action="store_true", help="print what is there; measure nothing")
    asked = parser.parse_args(arguments)
    deadline = time.monotonic() + 60 * asked.minutes
    # What ends this script ends the process that measures.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if asked.table:
        places = [asked.out] if asked.out else [_place("cuda"), _place("cpu")]
        file = next(filter(Path.exists, places), None)
        if file is None:
            raise CardError(f"{places[0]}: nothing is there; run this without --table first")
        result = Result.read(file)
        sys.stdout.write(tables(result.here, result.cells))
        return 0
    seen = here(asked.device, asked.shrink, 60 * asked.minutes)
    result = Result.read(asked.out or _place(seen["device"]))
    result.go_on(seen)
    wanted = [cell for cell in cells(result.here) if asked.only in cell.key]
    if not wanted:
        raise CardError(f"--only {asked.only!r}: no cell's name contains it")
    still = run(result, wanted, deadline)
    sys.stdout.write(tables(result.here, result.cells))
    if still:
        _say(f"{len(still)} of {len(wanted)} missing; the same command goes on: {', '.join(still)}")
    _say(str(result.file))
    return 3 if still else 0
