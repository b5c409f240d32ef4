"""The demo goes the whole line, and what it leaves is what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
# As `ifllm demo --synthetic 16 --out out`, with fewer readers in the world of known truth.
_SMALL_DEMO = """
import functools, sys
from ifllm_hf import cli, demo
demo.run_demo = functools.partial(demo.run_demo, world=45)
sys.exit(cli.main(["demo", "--synthetic", "16", "--out", "out"]))
"""


@pytest.mark.slow
def test_the_demo_goes_from_made_up_data_to_an_adapter(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_DEMO],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "MADE UP" in done.stderr, "made-up numbers are announced loudly"
    table = done.stdout
    assert "length rule" in table and "behaviour + length, LR" in table and "workers" in table
    out = tmp_path / "out"
    pairs = pl.read_parquet(out / "pairs.parquet")
    assert {"prompt", "chosen", "rejected", "confidence"} <= set(pairs.columns)
    assert (pairs["chosen"] != pairs["rejected"]).all()
    adapters = sorted((out / "known-truth").rglob("adapter_config.json"))
    assert len(adapters) == 2
    for adapter in adapters:
        assert (adapter.parent / "adapter_model.safetensors").is_file()
        published = json.dumps(json.loads(adapter.read_text()))
        assert str(tmp_path) not in published, "no path of this machine in what is published"
    for name in ("clicks alone", "clicks and behaviour"):
        row = next(line for line in table.splitlines() if line.startswith(name))
        pairs, before, after, rise = row.removeprefix(name).split()[:4]
        assert int(pairs) > 0 and 1 <= float(before) <= 10
        assert float(rise) == pytest.approx(float(after) - float(before), abs=0.011)
    assert "made up" in (out / "ifllm" / "README.md").read_text().lower()
    for line in ("data", "pairs", "adapters", "Next:"):
        assert line in done.stderr


def test_the_demo_replaces_nothing_that_no_demo_wrote(tmp_path: Path) -> None:
    from ifllm_hf.demo import run_demo
    from ifllm_hf.errors import IFLLMError, OutputError

    mine = tmp_path / "mine"
    (mine / "dpo").mkdir(parents=True)
    (mine / "dpo" / "adapter_model.safetensors").write_text("weeks of work")
    (mine / "pairs.parquet").write_text("labels")
    with pytest.raises(OutputError, match="mine: .*demo"):
        run_demo(None, mine, synthetic=1, say=print, show=print)
    assert (mine / "dpo" / "adapter_model.safetensors").read_text() == "weeks of work"
    assert (mine / "pairs.parquet").read_text() == "labels"
    with pytest.raises(OutputError, match="pairs.parquet: "):
        run_demo(None, mine / "pairs.parquet", synthetic=1, say=print, show=print)
    for _ in range(2):  # what a demo left unfinished, the next one may take
        with pytest.raises(IFLLMError) as failure:
            run_demo(tmp_path / "nowhere", tmp_path / "new", say=print, show=print)
        assert "nowhere" in str(failure.value) and not isinstance(failure.value, OutputError)


def test_the_demo_says_which_packages_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf import demo
    from ifllm_hf.errors import ConfigError

    monkeypatch.setattr(demo, "_NEEDED", ("json", "no_such_package_here"))
    with pytest.raises(ConfigError, match=r"no_such_package_here.*pip install"):
        demo.run_demo(None, tmp_path, say=print, show=print)
    assert not list(tmp_path.iterdir())
