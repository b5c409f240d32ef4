"""What `make reward-report` says of its models beside the benchmark's table."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.benchmark import reward_report
from ifllm_hf.benchmark.protocol.predictions import write_predictions
from ifllm_hf.benchmark.reward_report import gains_over
from ifllm_hf.plot.benchmark_report import draw_report
from ifllm_hf.training.recipe_arguments import recipe_main


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """Eight pairs of four readers, the first four of similar length, and a tie."""
    frame = pl.DataFrame(
        {
            "query_id": range(9),
            "user_id": [f"w{i % 4}" for i in range(9)],
            "preference": [*"abababab", "tie"],
            "response_a": ["x" * 10] * 9,
            "response_b": [*["y" * 11] * 4, *["y" * 30] * 5],
        }
    )
    file = tmp_path / "pairs.parquet"
    frame.write_parquet(file)
    monkeypatch.setattr(reward_report, "config_files", lambda folder, config: [str(file)])
    return frame


def write(file: Path, p_b: list[list[float]]) -> Path:
    rows = [
        {
            "query_id": query,
            "protocol": "worker",
            "repeat": repeat,
            "fold": query % 4,
            "p_b": p,
            "config_hash": "x",
        }
        for repeat, of_repeat in enumerate(p_b)
        for query, p in enumerate(of_repeat)
    ]
    write_predictions(pl.DataFrame(rows), file)
    return file


def test_gains_are_paired_and_average_over_repeats(pairs: pl.DataFrame, tmp_path: Path) -> None:
    right = [0.1, 0.9] * 4
    wrong = [0.9, 0.1] * 2 + [0.1, 0.9] * 2  # of the pairs of similar length
    # The mean of the two repeats is right everywhere, one of them is not.
    files = {
        "behavior": write(tmp_path / "b.parquet", [[0.6, 0.4] * 4, [0.1, 0.9] * 4]),
        "text": write(tmp_path / "t.parquet", [wrong]),
        "text+both": write(tmp_path / "both.parquet", [right]),
    }
    header, _, *rows = gains_over("text", "anywhere", files).splitlines()
    assert "8 pairs of 4 readers; similar length: 4 pairs of 4 readers" in header
    one = "+1.000 [+1.000, +1.000]"
    for name, row in zip(("behavior", "text+both"), rows, strict=True):
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[0] == name
        assert cells[1].startswith("+0.500 [") and cells[3] == cells[4] == one
    assert gains_over("text", "anywhere", {"behavior": files["behavior"]}) == ""


def test_the_recipe_prints_the_gains_and_where_the_report_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ready(data: Path, out: Path, **said: Any) -> Path:
        assert said.pop("draw") is draw_report
        assert said == {"quick": True, "variants": ["text"], "repeats": 2}
        out.mkdir()
        (out / "gains.md").write_text("| gains |\n")
        return out / "benchmark" / "report.md"

    monkeypatch.setattr(reward_report, "reward_report", ready)
    monkeypatch.setattr("ifllm_hf.data.prepared.ifllm.find_prepared", lambda *_, **__: tmp_path)
    out = tmp_path / "out"
    words = f"x --out {out} --quick --variants text --repeats 2"
    monkeypatch.setattr("sys.argv", words.split())
    recipe = Path(__file__).parents[2] / "recipes" / "reward_report.py"
    assert recipe_main(runpy.run_path(str(recipe))["run"]) == 0
    assert capsys.readouterr().out == f"| gains |\n\n{out / 'benchmark' / 'report.md'}\n"
