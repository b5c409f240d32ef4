"""A recipe with no argument: which YAML, which data, where results go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ifllm_hf.errors import DownloadError, SourceError
from ifllm_hf.training import without_config
from ifllm_hf.training.checkpoints import AUTO
from ifllm_hf.training.default_recipe import Chosen
from ifllm_hf.training.device import Device
from ifllm_hf.training.without_config import FOUND, choose_start, find_data, output_dir

CONFIGS = Path(__file__).parents[2] / "recipes" / "configs"


@pytest.mark.parametrize(
    ("stage", "file", "place"),
    [
        ("dpo", "smoke", "outputs/dpo-smoke"),
        ("kto", "smoke", "outputs/kto-smoke"),
        ("sft", "sft-smoke", "outputs/sft-smoke"),
        ("reward", "reward-smoke", "outputs/reward-smoke"),
        ("dpo", "qwen3-4b", "outputs/dpo-qwen3-4b"),
        ("sft", "gpt2-xl", "outputs/sft-gpt2-xl"),
        ("reward", "reward", "outputs/reward-modernbert-base"),
        ("pipeline", "smoke", "outputs/pipeline-smoke"),
    ],
)
def test_results_go_to_a_folder_named_by_recipe_and_model(
    stage: str, file: str, place: str
) -> None:
    assert output_dir(stage, Chosen(CONFIGS / f"{file}.yaml", "")) == place


def test_the_choice_is_said_by_the_first_process_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(without_config, "this_device", lambda: Device("A GPU", True, True, 80.0))
    monkeypatch.setattr(without_config.Weights, "can_be_had", lambda self, model: True)
    start = choose_start("dpo")
    assert start.file == CONFIGS / "qwen2.5-1.5b.yaml"
    assert start.settings == {
        "dataset": FOUND, "output_dir": "outputs/dpo-qwen2.5-1.5b", "resume_from_checkpoint": AUTO,
    }  # fmt: skip
    said = capsys.readouterr().err
    assert "Qwen/Qwen2.5-1.5B" in said and "3.1 GB" in said and said.count("\n") == 1
    monkeypatch.setenv("RANK", "1")
    choose_start("dpo")
    assert capsys.readouterr().err == ""


@dataclass(frozen=True)
class Data:
    """Of a run that is made up."""

    dataset: str = FOUND
    eval_fold: int | None = 3


def test_data_are_those_of_load_dataset_else_made_up(
    prepared_small: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IFLLM_RELEASE", raising=False)

    def named(*args: object, **kwargs: object) -> Path:
        raise SourceError("nowhere: does not exist ($IFLLM_RELEASE)")

    with monkeypatch.context() as patch, pytest.raises(SourceError, match="nowhere"):
        patch.setattr("ifllm_hf.data.prepared.ifllm.find_prepared", named)
        find_data()  # what was named is not replaced

    def unreachable(*args: object, **kwargs: object) -> Path:
        raise DownloadError("the release cannot be fetched")

    with monkeypatch.context() as patch:
        patch.setattr("ifllm_hf.data.prepared.ifllm.prepared_in_cache", unreachable)
        assert without_config.with_found_data(Data(), "dpo", ()) == Data("made-up")
        assert "cannot be fetched" in (said := capsys.readouterr().err) and "made-up" in said
        patch.setattr(without_config, "_MADE_UP_CONVERSATIONS", 2)
        made = without_config.with_found_data(Data(eval_fold=None), "reward", ())
        assert Path(made.dataset).is_relative_to(tmp_path / "cache" / "made-up")
        assert "MADE UP" in capsys.readouterr().err
    shutil.copytree(prepared_small, "ifllm")
    folds = without_config.folds_of(Path("ifllm"))
    assert 3 not in folds
    found = without_config.with_found_data(Data(), "dpo", ())
    assert found == Data("ifllm", folds[-1])
    assert "eval_fold" in capsys.readouterr().err
    assert without_config.with_found_data(Data(), "dpo", {"eval_fold"}) == Data("ifllm", 3)
