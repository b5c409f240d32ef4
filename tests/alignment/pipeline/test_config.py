from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.alignment.pipeline.config import read_pipeline
from ifllm_hf.alignment.pipeline.training import recipe
from ifllm_hf.errors import ConfigError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file:UserWarning",  # of a base that is a tiny random model
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": []}, "models or sources is empty"),
        ({"models": ["nope.yaml"]}, "names nope.yaml"),
        ({"sources": ["explicit.yaml", "explicit.yaml"]}, "two sources are named 'explicit'"),
        ({"models": ["small.yaml", "./small.yaml"]}, "two models are named small"),
        ({"train_on": "some"}, "train_on is 'some'"),
        ({"settings": {"dataset": "x"}}, "dataset is decided by the pipeline"),
        ({"settings": {"reference_rank": "0/2"}}, "reference_rank is decided by the pipeline"),
        ({"workers": 0}, "workers is 0; expected 1 or more"),
        ({"settings": {"hub_model_id": "o/n"}, "sft": {}}, "hub_model_id names one repository"),
        ({"source": "x"}, "no setting 'source'"),
    ],
)
def test_pipelines_that_cannot_work(
    files: Callable[..., Path], changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        read_pipeline(files(**changes))


def test_one_run_may_have_a_repository(files: Callable[..., Path]) -> None:
    settings = {"push_to_hub": True, "hub_model_id": "o/n"}
    read_pipeline(files(settings=settings, models=["small.yaml"], sources=["explicit.yaml"]))


@pytest.mark.parametrize("name", ["pipeline.yaml", "refresh.yaml"])
def test_the_recipes_name_files_that_are_there_and_sources_of_the_papers_table(name: str) -> None:
    config, models, sources = read_pipeline(recipe(name))
    assert config.launch == ("accelerate", "launch") and config.judge_fold is not None
    if name == "pipeline.yaml":
        assert config.judge_fold == JUDGE_FOLD
        assert len(models) == 8
        assert [s.name for s in sources] == [
            "explicit", "text", "text-behaviour", "gaze", "mouse", "gaze-mouse",
        ]  # fmt: skip
    else:
        assert config.train_on == "new"
