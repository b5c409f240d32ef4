"""Settings from YAML and the command line, with those of judging as the example."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.settings_file import describe, find_settings, read_settings
from tests.helpers.alignment.judging import smallest


def test_yaml_first_and_the_command_line_wins(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(smallest()))
    made = read_settings(
        JudgeConfig, path, ["--judge.model", "m2", "--generation.top_p", "1", "--draws", "50"]
    )
    assert (made.judge.model, made.generation.top_p, made.draws) == ("m2", 1.0, 50)
    assert made.candidates[0].adapter == "x"
    one_word = read_settings(JudgeConfig, path, ["--judge.model=a=b", "--draws=50", "--seed", "3"])
    assert (one_word.judge.model, one_word.draws, one_word.seed) == ("a=b", 50, 3)
    for wrong, says in (
        (["--draws"], "has no value"), (["--draws", "{"], "no YAML value"),
        (["draws", "5"], "write --NAME VALUE"),
        (["--output_dir.x", "5"], "output_dir"), (["--nope", "1"], "no setting 'nope'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            read_settings(JudgeConfig, path, wrong)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(JudgeConfig, tmp_path / "none.yaml")
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="YAML"):
        read_settings(JudgeConfig, path)


def test_help_names_every_setting_and_its_parts() -> None:
    said = describe(JudgeConfig)
    for line in (
        "output_dir: Folder for answers, verdicts and the report.", "judge.tries: Requests for",
        "prompts.fold: Only questions of readers", "candidates[].adapter: LoRA adapter on it",
    ):  # fmt: skip
        assert f"\n{line}" in said
    assert max(map(len, said.splitlines())) <= 96


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("recipes/configs/qwen2.5-3b.yaml", "configs/qwen2.5-3b.yaml"),
        ("qwen2.5-3b", "configs/qwen2.5-3b.yaml"),
        ("configs/sources/explicit", "configs/sources/explicit.yaml"),
        ("refresh", "refresh.yaml"),
    ],
)
def test_settings_that_come_along_are_found_by_name(
    name: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(find_settings(name)) == Path(__file__).parents[2] / "recipes" / found
    mine = tmp_path / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("a: 1")
    assert find_settings(name) == name


@pytest.mark.parametrize("name", ["nowhere.yaml", "../pyproject.toml", "/etc/passwd", ""])
def test_other_names_are_left_as_they_are(name: str, tmp_path: Path) -> None:
    assert find_settings(str(tmp_path / name)) == str(tmp_path / name)
    assert name == "/etc/passwd" or find_settings(name) == name
