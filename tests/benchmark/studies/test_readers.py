"""The report on how readers differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ifllm_hf.benchmark.studies.readers import run_readers
from ifllm_hf.cli import main
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import write_synthetic_release
from ifllm_hf.errors import OutputError
from ifllm_hf.plot.benchmark_report import draw_reader_habits


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("readers")
    write_synthetic_release(
        place / "release", conversations=60, ticks_per_turn=100, defects=False, seed=1
    )
    prepare(place / "release", place / "ifllm", progress=False)
    return place / "ifllm"


def test_the_report_is_written_once_and_read_back(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "readers"
    run = run_readers(
        prepared, out=out, draws=100, repeats=1, draw=draw_reader_habits, progress=False
    )
    written = json.loads((out / "readers.json").read_text())
    assert written == run.records
    parts = {row["part"] for row in written}
    assert {"clusters", "style", "signal", "habit", "channel"} <= parts
    assert sum(row["readers"] for row in written if row["part"] == "signal") <= len(
        run.styles.users
    )
    page = (out / "readers.md").read_text()
    assert run.text() in page
    assert (out / "readers.png").stat().st_size > 10_000
    with pytest.raises(OutputError, match="readers.md exists"):
        run_readers(prepared, out=out, progress=False)
    assert main(["benchmark", "--readers", "--quick", "--from", str(prepared)]) == 1
    assert "do not go with it" in capsys.readouterr().err
