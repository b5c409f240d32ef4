"""What the benchmark says of the public release, the same words wherever they stand.

`released.json` beside this file holds the rows of docs/benchmark/report.json that the answer needs;
`dataset_card/released_answer.py` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.suite import HEADLINE
from ifllm_hf.benchmark.report.answer import NAMES, PROTOCOL, SUBSETS, answer

RELEASED = Path(__file__).with_name("released.json")


def needed(records: Sequence[Record]) -> list[Record]:
    """Return the rows of a report that the answer is made of."""
    return [
        r
        for r in records
        if r.get("set") == HEADLINE
        and r.get("protocol") == PROTOCOL
        and r.get("subset") in SUBSETS
        and r.get("model") in NAMES.values()
        and not r.get("file")
    ]


def four_lines() -> str:
    """Return the answer for the public release as `ifllm benchmark` prints it first."""
    records = _records()
    return answer(records, max(int(r.get("repeats", 1)) for r in records))


def known() -> str:
    """Return in one line what is known of readers that no model saw."""
    of = {(r["model"], r["subset"]): r for r in _records()}
    text, length, both = NAMES.values()

    def share(model: str, subset: str = "all") -> str:
        return f"{of[model, subset]['accuracy']:.3f}".lstrip("0")

    every, similar = (of[both, subset] for subset in SUBSETS)
    gain = "[{d_length_low:+.3f}, {d_length_high:+.3f}]".format(**every).replace("0.", ".")
    return (
        f"Held out by reader ({every['n']} pairs of {every['workers']} readers), text alone tells "
        f"the preferred answer with an accuracy of {share(text)}, length alone {share(length)}, "
        f"length with behaviour {share(both)} (gain over length, 95 %: {gain}), and among "
        f"{similar['n']} pairs of similar length {share(length, 'similar length')} → "
        f"{share(both, 'similar length')}: the paper's 55 → 64 % holds for people never seen, and "
        "most of it is length."
    )


@cache
def _records() -> list[Any]:
    records: list[Any] = json.loads(RELEASED.read_text(encoding="utf-8"))
    return records
