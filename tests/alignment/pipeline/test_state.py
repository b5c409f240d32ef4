from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.pipeline.state import DONE, INTERRUPTED, RUNNING, WAITING, Run
from ifllm_hf.errors import OutputError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file:UserWarning",  # of a base that is a tiny random model
)


def test_a_run_is_locked_while_it_is_worked_on(tmp_path: Path) -> None:
    a_run = Run(tmp_path, "x", {"a": 1})
    assert a_run.state() == {"status": WAITING}
    with a_run.working(stage="test") as state:
        assert a_run.state()["status"] == RUNNING
        with (
            pytest.raises(OutputError, match="another process"),
            Run(tmp_path, "x", {"a": 1}).working(),
        ):
            pass
        state["found"] = 3
    assert (a_run.state()["status"], a_run.state()["found"]) == (DONE, 3)


def test_a_run_whose_process_is_gone_was_interrupted(tmp_path: Path) -> None:
    a_run = Run(tmp_path, "x", {"a": 1})
    a_run.state_file.write_text(json.dumps({"status": RUNNING, "name": "x"}))
    assert a_run.state()["status"] == INTERRUPTED


def test_keys_do_not_depend_on_order() -> None:
    def key(inputs: dict[str, Any]) -> str:
        return Run(Path("stage"), "x", inputs).key

    assert key({"a": 1, "b": {"c": 2, "d": 3}}) == key({"b": {"d": 3, "c": 2}, "a": 1})
    assert key({"a": 1}) != key({"a": 2})
