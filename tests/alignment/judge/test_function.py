from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.function import FunctionJudge
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.settings_file import build
from tests.helpers.alignment.judging import config, smallest

MODULE = """
def words(answer, question):
    return len(answer.split())

def fussy(answer, question):
    if question == "Why 4?":
        raise KeyError("four")
    return float("nan") if question == "Why 8?" else len(answer)

def broken(answer, question):
    raise KeyError("all")

def text(answer, question):
    return "7"

NUMBER = 7
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of one's own in the folder where one works."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "truths", raising=False)
    (tmp_path / "truths.py").write_text(MODULE)
    return tmp_path


def judged_by(function: str, mine: Path, questions: Path, **settings: Any) -> dict[str, Any]:
    judge = {"kind": "function", "model": f"truths.{function}", **settings}
    return run_judge(config(mine, questions, judge=judge), progress=False)


def test_the_larger_score_wins_and_the_rise_is_shown(mine: Path, questions: Path) -> None:
    report = judged_by("words", mine, questions)
    got = report["candidates"]["both"]
    assert (got["n"], got["wins"]) == (15, 15)
    assert got["score_rise"]["estimate"] == pytest.approx(3.0)
    assert report["candidates"]["explicit"]["score_rise"]["estimate"] == pytest.approx(1.0)
    assert got["relative_improvement"] is None and report["ratios"] == []
    shown = (mine / "out" / "report.md").read_text()
    assert "the function truths.words" in shown and "| +3.00 [+3.00, +3.00] |" in shown


def test_a_pair_without_a_score_is_counted_and_left_out(mine: Path, questions: Path) -> None:
    report = judged_by("fussy", mine, questions)
    assert report["candidates"]["both"]["n"] == 13
    failed = report["judge"]["failed"]
    assert failed == {"it raised KeyError: 'four'": 2, "its score is nan": 2}


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("broken", "no score for the first 5 pairs, last: it raised KeyError: 'all'"),
        ("text", r"returned '7' \(str\); expected"),
        ("NUMBER", "which is no function; expected"),
        ("nothing", "which cannot be had .*nothing.*; expected package.module.function"),
    ],
)
def test_what_is_no_such_function_is_refused(
    mine: Path, questions: Path, function: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        judged_by(function, mine, questions)


@pytest.mark.parametrize("name", ["truth", "no.such.module.f", ".f", "json"])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    settings = build(JudgeConfig, smallest(kind="function", model=name), "t").judge
    with pytest.raises(ConfigError, match="cannot be had"):
        FunctionJudge(settings)


@pytest.mark.parametrize("content", ["def f(:", "raise RuntimeError('two\\nlines')", "1 / 0"])
def test_a_file_that_cannot_be_run_is_one_line(mine: Path, content: str) -> None:
    name = f"broken_{abs(hash(content))}"
    (mine / f"{name}.py").write_text(content)
    settings = build(JudgeConfig, smallest(kind="function", model=f"{name}.f"), "t").judge
    with pytest.raises(ConfigError, match="Error: .*expected package.module.function") as caught:
        FunctionJudge(settings)
    assert "\n" not in str(caught.value)


def test_a_verdict_is_of_the_code_that_gave_it(mine: Path) -> None:
    settings = build(JudgeConfig, smallest(kind="function", model="truths:words"), "t").judge
    before = FunctionJudge(settings).identity
    assert before == FunctionJudge(settings).identity
    (mine / "truths.py").write_text(MODULE + "\n# changed\n")
    assert before != FunctionJudge(settings).identity
