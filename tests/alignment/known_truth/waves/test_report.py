"""The report says everything from the lines alone, and the committed one is up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.known_truth.results_file import read_results
from ifllm_hf.alignment.known_truth.waves.report import as_markdown, write_report

COMMITTED = Path(__file__).parents[4] / "docs" / "known-truth"


def wave(record: Any, arm: str, number: int, seed: int, rise: float, **given: Any) -> Any:
    stopped = given.pop("stopped", False)
    difference = {"estimate": -0.5, "low": -0.9, "high": -0.1, "level": 0.95}
    return {
        **record(seed, rise=(rise, rise)),
        "arm": arm,
        "wave": number,
        "settings": {},
        "strength": 0.95,
        "shown": 7.0,
        "stopped": stopped,
        "kept": number - stopped,
        "judged": {
            "said": "fell" if stopped else "better",
            "difference": difference,
            "questions": 50,
            "readers": 5,
        },
        **given,
    }


def test_arms_are_compared_wave_by_wave(record: Any, tmp_path: Path) -> None:
    lines = []
    for seed in (0, 1):
        lines += [
            wave(record, "clicks", 1, seed, 0.2),
            wave(record, "clicks", 2, seed, 0.4),
            wave(record, "both", 1, seed, 0.5, source="all-gaze+mouse"),
            wave(record, "both", 2, seed, 0.9, source="all-gaze+mouse"),
            wave(record, "long", 1, seed, 0.3, settings={"num_train_epochs": 9}),
        ]
    lines.append(wave(record, "long", 2, 0, -0.6, settings={"num_train_epochs": 9}, stopped=True))
    said = write_report(lines, tmp_path).read_text()
    for part in (
        "# Known truth in waves: 11 waves of 3 arms, 2 seeds",
        "mean true score 7.00 (40 answers to the questions of 4 held-out readers",
        "| clicks | 2 | 2 | 300 | 0.80 | 7.00 | +0.40 [+0.40, +0.40] |  |",
        "| both | 2 | 2 | 300 | 0.80 | 7.00 | +0.90 [+0.90, +0.90] | +0.50 [+0.50, +0.50] |",
        "| long | 2 | 1 | 300 | 0.80 | 7.00 | -0.60 [-0.60, -0.60] | -1.00 [-1.00, -1.00] |",
        "| both | long | 1 | +0.20 [+0.20, +0.20] |",
        "| both | long | 2 | +1.50 [+1.50, +1.50] |",
        "* long: explicit, strength 0.95, num_train_epochs 9",
        "found 10 better than the best before, 0 not better, and 1 fell",
        "| long | 0 | 2 | -0.50 [-0.90, -0.10] | 50 | 5 | 6.40 | 1 | 7.30 |",
    ):
        assert part in said, part
    assert (tmp_path / "waves.png").stat().st_size > 10_000


def test_without_early_stopping_nothing_is_said_of_it(record: Any) -> None:
    lines = [wave(record, "clicks", 1, 0, 0.2, judged=None, kept=None)]
    assert "Early stopping" not in as_markdown(lines)


def test_the_committed_report_is_that_of_the_committed_lines() -> None:
    records = list(read_results(COMMITTED / "waves.jsonl").values())
    if not records:
        pytest.skip("no results are committed")
    assert len({record["family"] for record in records}) == 1
    assert (COMMITTED / "waves.md").read_text() == as_markdown(records)
