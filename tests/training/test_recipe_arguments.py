"""What a recipe prints, and with which code it ends."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.recipe_arguments import GOES_ON, parse_recipe, recipe_main


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
    assert "--resume_from_checkpoint true" in words and words.endswith(f"{GOES_ON}\n")


@dataclass
class Colour:
    """Of a run that is made up."""

    hue: float = 0.5


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
