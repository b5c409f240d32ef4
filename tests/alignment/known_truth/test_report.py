"""The report says everything from the lines alone, and the committed one is up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.known_truth.report import as_markdown, write_report
from ifllm_hf.alignment.known_truth.results_file import read_results

COMMITTED = Path(__file__).parents[3] / "docs" / "known-truth"


def lines(record: Any) -> list[Any]:
    some = []
    for seed in (0, 1):
        some += [
            record(seed, rise=(0.2, 0.3)),
            record(seed, source="oracle", share=None, rise=(1.0, 1.1)),
            record(seed, share=0.05, rise=(-0.1, 0.1)),
            record(seed, source="all", share=0.05, strength=0.75, rise=(0.1, 0.1)),
            record(seed, source="all", strength=0.75, rise=(0.3, 0.4)),
            record(seed, source="all", strength=0.95, rise=(0.7, 0.8)),
            record(seed, source="all", strength=0.75, loss="dpo", rise=(0.1, 0.1)),
            record(seed, source="all", strength=0.95, damage="swapped", rise=(-0.5, -0.4)),
            record(seed, source="oracle", share=None, damage="swapped", rise=(-0.9, -0.8)),
            record(seed, source="all", strength=0.95, damage="permuted", rise=(0.1, 0.1)),
            record(seed, source="all", strength=0.95, damage="coin", rise=(0.05, 0.05)),
            record(seed, damage="coin", rise=(0.15, 0.15)),
        ]
    return some


def test_every_part_is_there(record: Any, tmp_path: Path) -> None:
    file = write_report(lines(record), tmp_path)
    said = file.read_text()
    for part in (
        "# Known truth: 24 cells of 2 seeds",
        "base 0",
        "| 20% | clicks | ",
        "| 20% | clicks, behaviour and length elsewhere | 0.95 | 2 | 300 | 0.80 | +0.75 [",
        "strength 0.75, clicks, behaviour and length elsewhere: +0.10 [",
        "] more than with behaviour of other readers",
        "  * less what a coin does with as many pairs: +0.30 [0.25, 0.35], of clicks alone +0.10 [",
        "ratio 1.40 [",
        "## Where the public release stands",
        "elsewhere | 0.75 | behavior | 0.7-0.8 | 300 | 0.75 | 0.60 | 0.80 |",
        "## The same labels, other losses",
        "| clicks, behaviour and length elsewhere, 20% clicks, 0.75 | dpo | 2 | +0.10 [",
        "| behaviour of other readers | clicks, behaviour and length elsewhere, 20% clicks",
        "| chosen and rejected exchanged | the truly better answer | 2 | 0.80 | -0.85 [",
        "10.0 % of the base model's answers, 5.0 % after training",
    ):
        assert part in said, part
    (undefined,) = [x for x in said.splitlines() if x.startswith("| 5% | clicks, ")]
    assert undefined.endswith("| not defined |")
    assert (tmp_path / "rise.png").stat().st_size > 10_000


def test_a_single_line_is_a_report(record: Any) -> None:
    said = as_markdown([record(0)])
    assert "1 cells of 1 seed\n" in said and "| 20% | clicks | " in said


def test_the_committed_report_is_that_of_the_committed_lines() -> None:
    records = list(read_results(COMMITTED / "results.jsonl").values())
    if not records:
        pytest.skip("no results are committed")
    assert len({record["family"] for record in records}) == 1
    assert (COMMITTED / "report.md").read_text() == as_markdown(records)
