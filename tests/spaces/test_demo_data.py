"""Where the data of the Space comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import SourceError
from ifllm_space import demo_data as demo
from ifllm_space.demo_data import DemoData, open_demo_data
from tests.helpers.spaces.application import build_space


def test_named_folder_must_be_a_prepared_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no prepared folder"):
        open_demo_data(tmp_path)


def test_prepared_data_is_found_where_the_app_is_started_then_beside_it(
    prepared_synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, here = tmp_path / "nothing", tmp_path / "here"
    here.mkdir()
    (here / "ifllm").symlink_to(prepared_synthetic)
    nothing.mkdir()
    monkeypatch.setattr(demo, "PLACES", (Path("ifllm"), prepared_synthetic))
    monkeypatch.chdir(here)
    assert open_demo_data().folder == prepared_synthetic.resolve()
    monkeypatch.chdir(nothing)
    assert open_demo_data().folder == prepared_synthetic.resolve()


def test_without_data_a_release_is_made_up_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "PLACES", (Path("ifllm"),))
    monkeypatch.setattr(demo, "CONVERSATIONS", 2)
    data = open_demo_data()
    assert data.made_up and "Made-up data" in data.said
    assert data.index.height > 0
    assert list(tmp_path.iterdir()) == []  # nothing is left where the app was started


def test_few_turns_are_explored_even_if_no_reward_can_be_fitted(tmp_path: Path) -> None:
    data = open_demo_data(synthetic=2)
    with TestClient(build_space(data, Settings(sessions=tmp_path / "sessions"))) as client:
        config = client.get("/config").json()
    said = [str(c["props"].get("value")) for c in config["components"]]
    assert any("There is nothing to score with" in text for text in said)
    assert any('"ticks"' in text for text in said)  # Explore is there


def test_made_up_data_is_called_so_wherever_it_lies(demo_data: DemoData) -> None:
    assert demo_data.made_up
    assert demo_data.said == "Made-up data: no person stands behind it."


def test_collected_sessions_are_not_called_the_release(tmp_path: Path) -> None:
    from ifllm_hf.data.prepared.prepare import prepare
    from tests.helpers.made_up_sessions import write_sessions

    for truth in write_sessions(tmp_path / "sessions", 8, steps=6):
        lines = truth.path.read_text("utf-8").splitlines(keepends=True)
        first = json.loads(lines[0])
        del first["versions"]  # nothing says now that nobody stands behind it
        truth.path.write_text("".join([json.dumps(first) + "\n", *lines[1:]]), "utf-8")
    prepare(tmp_path / "sessions", tmp_path / "ifllm", progress=False)
    data = open_demo_data(tmp_path / "ifllm")
    assert not data.made_up and data.said.startswith("Collected sessions")
    assert data.reward.trained_on.source == "sessions"
