from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.append_file import AppendFile
from ifllm_hf.errors import DataError, OutputError


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    with (
        AppendFile(tmp_path / "x.jsonl") as file,
        pytest.raises(OutputError, match="in use by another run"),
        AppendFile(tmp_path / "x.jsonl"),
    ):
        pass
    with AppendFile(tmp_path / "x.jsonl") as file:
        file.add({"key": "a", "n": 1})
        file.add({"key": "a", "n": 2})
    with AppendFile(tmp_path / "x.jsonl") as file:
        assert file.records == {"a": {"key": "a", "n": 2}}
    (tmp_path / "x.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(DataError, match="line 1"), AppendFile(tmp_path / "x.jsonl"):
        pass


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with AppendFile(tmp_path / "x.jsonl") as file:
        file.add({"key": "a"})
        file._file.close()
        file._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
        with pytest.raises(OutputError, match="free some space"):
            file.add({"key": "b"})
    with AppendFile(tmp_path / "x.jsonl") as file:
        assert list(file.records) == ["a"]
