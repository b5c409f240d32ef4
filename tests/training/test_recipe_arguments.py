"""What a recipe prints, and with which code it ends."""

from __future__ import annotations

import pytest

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.recipe_arguments import GOES_ON, recipe_main


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
