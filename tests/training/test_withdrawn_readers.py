"""Models that know who withdrew."""

from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.cli import main
from ifllm_hf.data.sessions.collected import reader_of
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import SourceError
from ifllm_hf.training.run_record import write_run
from ifllm_hf.training.withdrawn_readers import affected_models
from tests.helpers.made_up_sessions import TrueSession, write_sessions


@pytest.fixture
def truths(tmp_path: Path) -> list[TrueSession]:
    return write_sessions(tmp_path / "sessions", 3, steps=12)


def card(folder: Path, *readers: str) -> None:
    folder.mkdir(parents=True)
    listed = "".join(f"- {reader}\n" for reader in readers)
    (folder / "README.md").write_text(f"---\nlicense: mit\nifllm_readers:\n{listed}---\n# Model\n")


def test_models_that_know_who_withdrew_are_named(
    truths: list[TrueSession], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, stays = (reader_of(truth.session_id) for truth in truths[:2])
    card(tmp_path / "models" / "one", gone, stays)
    card(tmp_path / "models" / "two", stays)
    write_run(tmp_path / "models" / "three", {"data": {"readers": [gone]}})
    stones = [tombstone(truths[0].session_id)]
    found = affected_models([tmp_path / "models"], stones)
    assert [(Path(m.model).name, m.readers) for m in found] == [
        ("one", (gone,)),
        ("three", (gone,)),
    ]
    assert affected_models([tmp_path / "models" / "two"], stones) == []

    folder = truths[0].path.parent
    (folder / "withdrawn.txt").write_text(stones[0] + "\n")
    arguments = ["prepare", str(folder), "--out", str(tmp_path / "out"), "--models"]
    assert main([*arguments, str(tmp_path / "models")]) == 0
    said = capsys.readouterr().err
    assert gone in said and stays not in said and "2 models have to be trained again" in said


@pytest.mark.parametrize("model", ["nowhere", "empty"])
def test_a_model_without_a_card_is_an_error(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty").mkdir()
    place = str(tmp_path / "empty") if model == "empty" else model
    with pytest.raises(SourceError, match="Expected a model's folder|Correct it"):
        affected_models([place], [])


def test_models_need_sessions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", str(tmp_path), "--models", str(tmp_path)]) == 1
    assert "--models compares" in capsys.readouterr().err
