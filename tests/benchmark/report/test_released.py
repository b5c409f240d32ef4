"""README, card and terminal say the same of the public release."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.benchmark.report import released
from ifllm_hf.training.recipe_arguments import recipe_main

ROOT = Path(__file__).parents[3]
SCRIPT: dict[str, Any] = runpy.run_path(str(ROOT / "dataset_card" / "released_answer.py"))


def test_what_is_quoted_is_what_the_report_says() -> None:
    report = json.loads((ROOT / "docs" / "benchmark" / "report.json").read_text())
    assert json.loads(released.RELEASED.read_text()) == released.needed(report)
    assert len(released.needed(report)) == 6
    assert len(SCRIPT["PAGES"]) == 2
    for page in SCRIPT["PAGES"]:
        text = page.read_text(encoding="utf-8")
        assert SCRIPT["with_answer"](text) == text
        assert released.four_lines() in text and released.known() in text


def test_the_numbers_are_those_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {
            "model": model,
            "subset": subset,
            "n": n,
            "workers": 5,
            "accuracy": 0.5 + i / 100,
            "d_length_low": -0.0104,
            "d_length_high": 0.25,
        }
        for subset, n in (("all", 70), ("similar length", 30))
        for i, model in enumerate(released.NAMES.values(), start=1)
    ]
    monkeypatch.setattr(released, "_records", lambda: rows)
    said = released.known()
    assert "70 pairs of 5 readers" in said and "30 pairs of similar length" in said
    assert ".510" in said and "length alone .520" in said
    assert "behaviour .530 (gain over length, 95 %: [-.010, +.250])" in said
    assert ".520 → .530" in said


def test_a_report_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    for text, says in (("[]", "0 rows of the answer"), ("{", "cannot be read")):
        file.write_text(text)
        monkeypatch.setattr("sys.argv", ["x", "--report", str(file)])
        assert recipe_main(SCRIPT["run"]) != 0
        assert says in capsys.readouterr().err
