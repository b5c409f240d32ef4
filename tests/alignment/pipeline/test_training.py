from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ifllm_hf.alignment.pipeline import training as pipeline_training
from ifllm_hf.alignment.pipeline.training import DPO, Training, recipe
from ifllm_hf.errors import ConfigError, OutputError
from tests.helpers.alignment.pipeline_files import TINY

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file:UserWarning",  # of a base that is a tiny random model
)


def test_a_training_run_goes_on_from_a_checkpoint_and_clears_what_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(pipeline_training, "_here", lambda name, said: seen.append(said))
    training = Training(DPO, {"beta": 0.1}, tmp_path / "p.parquet", tmp_path / "run")
    (tmp_path / "run" / "tiny_model").mkdir(parents=True)
    pipeline_training.train(training, None)
    assert not (tmp_path / "run").exists()
    settings = yaml.safe_load((tmp_path / "run.yaml").read_text())
    assert settings == {
        "beta": 0.1, "dataset": str(tmp_path / "p.parquet"), "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    state = tmp_path / "run" / "checkpoint-3" / "trainer_state.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"log_history": [')  # the disk was full
    pipeline_training.train(training, None)
    assert not (tmp_path / "run").exists() and seen[1] == seen[0]
    state.parent.mkdir(parents=True)
    state.write_text("{}")
    pipeline_training.train(training, None)
    assert [seen[0], seen[2]] == [
        ["--config", str(tmp_path / "run.yaml")],
        ["--config", str(tmp_path / "run.yaml"), "--resume_from_checkpoint", "true"],
    ]
    assert state.exists()


def test_a_launched_command_gets_the_recipe_and_its_failure_is_told(tmp_path: Path) -> None:
    training = Training(DPO, {"beta": 0.1}, tmp_path / "p.parquet", tmp_path / "run")
    script = tmp_path / "launcher.py"
    script.write_text("import sys\nprint(sys.argv[1:])\n")
    pipeline_training.train(training, ("python", str(script)))
    said = (tmp_path / "run.log").read_text()
    assert said.strip() == str([str(recipe("dpo.py")), "--config", str(tmp_path / "run.yaml")])
    script.write_text("print('CUDA out of memory')\nraise SystemExit(3)\n")
    with pytest.raises(OutputError, match="exit code 3.*CUDA out of memory"):
        pipeline_training.train(training, ("python", str(script)))
    with pytest.raises(ConfigError, match="cannot be started"):
        pipeline_training.train(training, (str(tmp_path / "nothing"),))


def test_settings_that_the_recipe_refuses_are_an_error_of_that_run(tmp_path: Path) -> None:
    for wrong, says in (
        ({"no_such_setting": 1}, "unknown settings no_such_setting"),
        ({"beta": "much"}, "recipes/dpo.py refuses these settings"),
    ):
        training = Training(DPO, {**TINY, **wrong}, tmp_path / "p.parquet", tmp_path / "run")
        with pytest.raises(ConfigError, match=says):
            pipeline_training.train(training, None)
