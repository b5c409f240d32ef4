"""The judging and pipeline scripts as they are run, and their YAML as it is written."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.training.settings_file import read_settings
from tests.helpers.loopback_judge import LoopbackJudge

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"


def script(name: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(RECIPES / name), run_name="__main__")
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", ["judge", "judge-smoke"])
def test_the_judging_recipes_can_be_read(name: str) -> None:
    path = RECIPES / "configs" / f"{name}.yaml"
    config = read_settings(JudgeConfig, path)
    assert config.prompts.fold == JUDGE_FOLD
    head = path.read_text().splitlines()[0]
    assert head == (
        f"# python recipes/judge.py --config recipes/configs/{name}.yaml "
        f"--output_dir {config.output_dir}"
    )


def test_the_script_judges_and_prints_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"Why {i}?", "user_id": f"r{i}", "fold": JUDGE_FOLD} for i in range(4)]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for name, words in (("before", 2), ("after", 5)):
        said = [{"question": r["prompt"], "answer": "word " * words} for r in rows]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in said))
    with LoopbackJudge() as server:
        settings: dict[str, Any] = {
            "baseline": {"name": "before", "answers": str(tmp_path / "before.jsonl")},
            "candidates": [{"name": "after", "answers": str(tmp_path / "after.jsonl")}],
            "prompts": {"dataset": str(tmp_path / "q.jsonl")},
            "judge": {
                "kind": "endpoint", "model": "unset", "base_url": server.url,
                "api_key_env": "JUDGE_KEY",
            },
        }  # fmt: skip
        (tmp_path / "judge.yaml").write_text(yaml.safe_dump(settings))
        command = ["--config", str(tmp_path / "judge.yaml"), "--output_dir", str(tmp_path / "out")]
        monkeypatch.setenv("JUDGE_KEY", "sesame")
        code = script("judge.py", monkeypatch, *command, "--judge.model", "judge-9")
    assert code == 0
    printed = capsys.readouterr().out
    assert printed == (tmp_path / "out" / "report.md").read_text()
    assert "judge-9" in printed and "| after | 4 | 4 | 4 / 0 / 0 | 1.000" in printed
    assert {body["model"] for body in server.requests} == {"judge-9"}


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("judge.py", ["--config", "none.yaml"], "error: none.yaml: cannot be read"),
        ("pipeline.py", ["--config", "none.yaml"], "error: none.yaml: cannot be read"),
        (
            "pipeline.py",
            ["--config", str(RECIPES / "pipeline.yaml"), "--data", "nowhere"],
            "nowhere",
        ),
        (
            "pipeline.py",
            ["--config", str(RECIPES / "pipeline.yaml"), "--nope", "1"],
            "there is no setting 'nope'",
        ),
    ],
)
def test_a_mistake_is_one_line_and_not_zero(
    name: str,
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert script(name, monkeypatch, *arguments) == 1
    seen = capsys.readouterr()
    assert seen.out == "" and says in seen.err and seen.err.count("\n") == 1


def test_status_looks_and_does_nothing(
    prepared_small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = [
        "--config", str(RECIPES / "pipeline.yaml"), "--data", str(prepared_small),
        "--output_dir", str(tmp_path / "out"), "--status",
    ]  # fmt: skip
    assert script("pipeline.py", monkeypatch, *command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "explicit", "text", "text-behaviour", "gaze", "mouse", "gaze-mouse",
    ]  # fmt: skip
    assert len(lines) == 9 and lines[1].split() == ["gpt2-xl", *["waiting"] * 6]
    assert not (tmp_path / "out" / "labels").exists()
    assert script("pipeline.py", monkeypatch, *command, "--json") == 0
    assert json.loads(capsys.readouterr().out)["did"] == []
