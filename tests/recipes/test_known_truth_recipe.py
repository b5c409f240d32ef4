"""The script of the grid and the waves as it is run, and their YAML as it is written."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.function import FunctionJudge
from ifllm_hf.alignment.known_truth.config import read_grid
from ifllm_hf.alignment.known_truth.waves.config import read_waves
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.training.settings_file import read_settings

RECIPES = Path(__file__).parents[2] / "recipes"
GRID, WAVES = (RECIPES / f"known-truth-{name}.yaml" for name in ("grid", "waves"))


def script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["known_truth.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(RECIPES / "known_truth.py"), run_name="__main__")
    return int(end.value.code or 0)


def test_the_grid_opens_with_its_command_and_holds_the_judges_out() -> None:
    first = GRID.read_text().splitlines()[0]
    assert first == "# python recipes/known_truth.py --config recipes/known-truth-grid.yaml"
    grid = read_grid(GRID)
    assert grid.training["eval_fold"] == JUDGE_FOLD
    assert grid.training["num_train_epochs"] == 1.5 and "max_steps" not in grid.training
    assert grid.results_file == Path("docs/known-truth/results.jsonl")


def test_the_waves_open_with_their_command_and_are_judged_by_the_truth() -> None:
    first = WAVES.read_text().splitlines()[0]
    assert first == "# python recipes/known_truth.py --config recipes/known-truth-waves.yaml"
    waves = read_waves(WAVES)
    assert waves.waves == 5 and waves.early_stopping
    assert waves.results_file == Path("docs/known-truth/waves.jsonl")
    settings = read_settings(JudgeConfig, waves.judge)
    assert settings.prompts.fold == JUDGE_FOLD
    judge = FunctionJudge(settings.judge)
    assert judge._number("", "What are the colour and the bird of Karby?") == 5.5
    quick = waves.quick()
    assert quick.waves == 2 and quick.results_file.parts[-2] == "known-truth-waves-quick"


def test_help_says_what_the_waves_can_be_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "--config", str(WAVES), "--help") == 0
    said = capsys.readouterr().out
    assert "early_stopping: " in said and "arms[].strength: " in said


def test_the_report_is_made_from_the_lines_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("ran")

    monkeypatch.setattr("ifllm_hf.alignment.known_truth.cell_run.run_cell", never)
    grid = read_grid(GRID)
    results = tmp_path / "results.jsonl"
    lines = [
        {
            "key": grid.key(cell),
            "family": grid.family,
            "base": grid.base,
            **cell.described(),
            "labels": {"pairs": 9, "decided": 8, "right": 6, "liked": 7, "bins": []},
            "readers": {"x": [4, 20.0, 22.0], "y": [4, 20.0, 23.0]},
            "parts": dict.fromkeys(("before", "after"), {"answers": 8, "with_nonsense": 0}),
            "seconds": {"training": 1.0},
            "versions": {"torch": "2"},
        }
        for cell in grid.cells()
    ]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # All cells have a line, so the same command without --report runs nothing either.
    for flag in (["--report"], []):
        assert script(monkeypatch, "--results", str(results), *flag) == 0
        said = capsys.readouterr().out
        assert "| 20% | clicks, behaviour alone elsewhere | 0.75 | 5 | 9 | 0.75 | +0.62 [" in said
        assert str(tmp_path / "report.md") in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--report", "--results", "{}/none.jsonl"), "run the same without --report first"),
        (("--seeds", "[]"), "seeds or blocks is empty"),
        (("--click_error", "0.7"), "share of wrong clicks"),
        (("--blocks", "[{name: x, sources: [all], shares: [0.2], strengths: [0.3]}]"), "0.3"),
        (("--blocks", "[{name: x, sources: [all], shares: [0], strengths: [0.6]}]"), "shares: 0"),
        (("--colour", "red"), "there is no setting 'colour'"),
        (("--config", str(WAVES), "--waves", "0"), "waves 0, 5 arms"),
        (("--config", str(WAVES), "--report", "--results", "{}/none.jsonl"), "without --report"),
        (("--config", "{}/none.yaml"), "none.yaml: cannot be read as YAML"),
    ],
)
def test_what_cannot_be_run_is_one_line(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        script(monkeypatch, *(word.format(tmp_path) if "/" in word else word for word in arguments))
        == 1
    )
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1 and errors[0].startswith("error: ") and said in errors[0]
