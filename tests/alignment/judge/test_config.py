from __future__ import annotations

from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.settings_file import build
from tests.helpers.alignment.judging import smallest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"judges": 1}, "no setting 'judges'"),
        ({"judge": {}}, "judge: kind is missing"),
        ({"judge": {"kind": "oracle"}}, "expected one of endpoint"),
        ({"judge": {"kind": "endpoint"}}, "judge.model is missing"),
        ({"judge": {"kind": "people", "concurrency": "8"}}, "concurrency is '8'; expected int"),
        ({"draws": 2.5}, "draws is 2.5"),
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": [{"name": "a", "model": "m"}]}, "two models are named 'a'"),
        ({"candidates": [{"name": "x/y", "model": "m"}]}, "a name that a file can have"),
        ({"candidates": [{"name": "b", "model": "m", "answers": "f"}]}, "name one of them"),
        ({"candidates": [{"nam": "b"}]}, r"candidates\[0\]: there is no setting 'nam'"),
        ({"ratio_to": "z"}, "ratio_to is 'z'"),
        ({"baseline": {"name": "a"}}, "neither model nor answers"),
        ({"generation": {"top_p": 0.0}}, "top_p in"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(JudgeConfig, {**smallest(), **change}, "x.yaml")
