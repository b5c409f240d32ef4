"""What a recipe prints, and with which code it ends."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.recipe_arguments import GOES_ON, Finished, parse_recipe, recipe_main


def test_a_result_goes_to_stdout_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recipe_main(lambda: "folder") == 0
    assert recipe_main(lambda: ("not whole", 1)) == 1
    monkeypatch.setenv("RANK", "1")
    assert recipe_main(lambda: "folder") == 0
    assert capsys.readouterr().out == "folder\nnot whole\n"


def test_words_about_what_went_wrong_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> str:
        raise KeyboardInterrupt

    def refused() -> str:
        raise ConfigError("beta is 0")

    assert (recipe_main(refused), recipe_main(stopped)) == (1, 130)
    assert recipe_main(stopped, interrupted=GOES_ON) == 130
    out, words = capsys.readouterr()
    assert out == "" and words.startswith("error: beta is 0\ninterrupted; ")
    assert "--resume_from_checkpoint auto" in words and words.endswith(f"{GOES_ON}\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(2, "No such file or directory", "/x"), "No such file or directory: '/x'"),
        (ModuleNotFoundError("No module named 'trl'", name="trl"), "`train`"),
        (yaml.scanner.ScannerError("while scanning\n", None, "a tab\n", None), "while scanning"),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> str:
        raise error

    assert recipe_main(fails) == 1
    words = capsys.readouterr().err
    assert words.startswith("error: ") and said in words and words.count("\n") == 1


def test_a_defect_keeps_its_traceback() -> None:
    for error in (RuntimeError("shapes"), ImportError("cannot import name 'x'"), KeyError("x")):

        def fails(error: Exception = error) -> str:
            raise error

        with pytest.raises(type(error)):
            recipe_main(fails)


def test_the_launcher_of_several_processes_is_told_the_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        raise ConfigError("beta is 0")

    file = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(file))
    assert recipe_main(refused) == 1
    assert json.loads(file.read_text())["message"]["message"] == "beta is 0"


def test_a_run_that_is_done_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def done() -> str:
        raise Finished("outputs/x")

    assert recipe_main(done) == 0
    out, words = capsys.readouterr()
    assert out == "outputs/x\n" and "outputs/x holds the finished run" in words


@dataclass
class Colour:
    """Of a run that is made up."""

    hue: float = 0.5

    def __post_init__(self) -> None:
        if self.hue > 1:
            raise ValueError("hue is too\nhigh")


@pytest.mark.parametrize("words", [["--config", "FILE"], ["--config=FILE"]])
def test_a_yaml_is_named_in_one_word_or_two(words: list[str], tmp_path: Path) -> None:
    file = tmp_path / "settings=mine.yaml"
    file.write_text("hue: 0.25\n")
    words = [word.replace("FILE", str(file)) for word in words]
    assert parse_recipe((Colour,), words) == (Colour(0.25),)
    assert parse_recipe((Colour,), ["--hue=0.75", *words]) == (Colour(0.75),)
    assert parse_recipe((Colour,), ["--hu", "1", *words]) == (Colour(1.0),)  # as argparse has it
    assert parse_recipe((Colour,), [*words, "--hue", "0", "--hue", "1"]) == (Colour(1.0),)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config=a", "--config", "b"], "twice"),
        (["--config="], "no value"),
        (["--config", "--hue", "1"], "no value"),
        (["--confg=a.yaml"], "did you mean --config"),
        (["--hue", "2"], "^hue is too high$"),  # of a library's own class
    ],
)
def test_a_command_line_that_cannot_be_read_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_recipe((Colour,), words)


def test_the_environment_of_a_yaml_is_set_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IFLLM_TEST_ONLY", "before")
    file = tmp_path / "settings.yaml"
    file.write_text("hue: 0.25\nenv:\n  IFLLM_TEST_ONLY: 3\n")
    (colour,) = parse_recipe((Colour,), ["--config", str(file)])
    assert colour == Colour(0.25) and os.environ["IFLLM_TEST_ONLY"] == "3"
    file.write_text("env: IFLLM_TEST_ONLY\n")
    with pytest.raises(ConfigError, match="env is 'IFLLM_TEST_ONLY'"):
        parse_recipe((Colour,), ["--config", str(file)])
