"""docs/plot.md: its Python runs, on collected sessions and made-up data alike."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import polars as pl
import pytest

from ifllm_hf.plot.canvas import bare_figure
from ifllm_hf.plot.drawn_turn import drawn_turn
from ifllm_hf.plot.reading_figure import draw_reading
from ifllm_hf.plot.turn_figure import draw_turn

matplotlib.use("agg")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "plot.md"


def test_the_lines_of_the_page_run(
    prepared_small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot

    (tmp_path / "ifllm").symlink_to(prepared_small)
    records = json.loads((ROOT / "docs" / "benchmark" / "report.json").read_text())
    few = [r for r in records if r.get("model") in ("length rule", "late reading, averaged")]
    (tmp_path / "docs" / "benchmark").mkdir(parents=True)
    (tmp_path / "docs" / "benchmark" / "report.json").write_text(json.dumps(few))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), names)
    pyplot.close("all")
    for name in ("turn", "reading", "report"):
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"


def test_a_collected_session_shows_what_was_on_screen(tmp_path: Path) -> None:
    from ifllm_hf.data.prepared.prepare import prepare
    from tests.helpers.made_up_sessions import write_sessions

    write_sessions(tmp_path / "sessions", 1)
    made = prepare(tmp_path / "sessions", tmp_path / "ifllm", progress=False).folder.path
    files = sorted((made / "pairwise").glob("*.parquet"))
    rows = pl.read_parquet(files).iter_rows(named=True)
    drawn = [drawn_turn(row) for row in rows if row["t_ms"]]
    seen = [turn for turn in drawn if any(np.isfinite(v).any() for v in turn.visible.values())]
    assert seen
    lane = draw_turn(seen[0], bare_figure)[2]
    bands = [c for c in lane.collections if c.get_alpha() == pytest.approx(0.13)]
    first, end = (seen[0].visible["a"][np.isfinite(seen[0].visible["a"][:, 0]), k] for k in (0, 1))
    (band,) = bands
    box = band.get_datalim(lane.transData)
    assert (box.y0, box.y1) == (first.min(), end.max())
    assert draw_reading(seen[0], bare_figure).shape == (2, 2)


def test_the_picture_of_the_readme_is_small_and_there() -> None:
    from matplotlib.image import imread

    picture = ROOT / "docs" / "explore.png"
    assert picture.stat().st_size < 150_000
    height, width, *_ = imread(picture).shape
    assert width == 2000 and height < 1500
    assert (ROOT / "dataset_card" / "explore_picture.py").is_file()
    assert "explore.png" in PAGE.read_text()
