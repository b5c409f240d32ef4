"""The demo goes the whole line, and what it leaves is what it says."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[1]
# As `ifllm demo --synthetic 16 --out out`, with fewer readers in the world of known truth.
_SMALL_DEMO = """
import functools, sys
from ifllm_hf import cli, demo
demo.run_demo = functools.partial(demo.run_demo, world=45)
sys.exit(cli.main(["demo", "--synthetic", "16", "--out", "out", "--open"]))
"""
_SCREEN = 40, 80  # lines, columns


class _Page(HTMLParser):
    """The rows of the tables of each section, all words, and what a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = defaultdict(list)
        self.words, self.section, self.loads, self.alts = "", "", [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.loads += [of[name] for name in ("src", "srcset", "href", "data") if name in of]
        if tag == "img":
            self.alts.append(of["alt"])
        if tag == "section":
            self.section = of["id"]
        if tag == "tr":
            self.rows[self.section].append([])
        if tag in ("td", "th"):
            self.rows[self.section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("table", "section") and self.rows[self.section]:
            self.rows[self.section].append([""])  # what follows is in no cell

    def handle_data(self, data: str) -> None:
        said = " ".join(data.split())
        self.words += f" {said}" if said else ""
        rows = self.rows[self.section]
        if said and rows and rows[-1]:
            rows[-1][-1] = f"{rows[-1][-1]} {said}".strip()

    def row(self, section: str, name: str) -> list[str]:
        """Return what follows the first cell, which begins with a name."""
        return next(row[1:] for row in self.rows[section] if row and row[0].startswith(name))


@pytest.mark.slow
def test_the_demo_goes_from_made_up_data_to_an_adapter(tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{tmp_path}/opened"\n')
    browser.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", _SMALL_DEMO],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HF_HOME": str(tmp_path / "home"),
            "OMP_NUM_THREADS": "1",
            "BROWSER": f"{browser} %s",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "MADE UP" in done.stderr, "made-up numbers are announced loudly"
    table = done.stdout
    assert "length with behaviour" in table and "gain over length" in table
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
    printed = (done.stderr + table).splitlines()
    assert sum(max(1, math.ceil(len(line) / _SCREEN[1])) for line in printed) <= _SCREEN[0]
    assert "%|" not in done.stderr and "Warning" not in done.stderr
    address = (out / "index.html").as_uri()
    assert done.stderr.splitlines()[-1].strip() == address
    assert (tmp_path / "opened").read_text().strip() == address
    _check_page(out, table)


def _check_page(out: Path, table: str) -> None:
    """Hold the page against what was printed and what lies beside it."""
    text = (out / "index.html").read_text()
    page = _Page(text)
    assert len(text) < 1_000_000
    assert all(place.startswith("data:") for place in page.loads), "the page loads something"
    assert "<script" not in text and "@import" not in text and "url(" not in text
    assert len(page.alts) == 2 and all(len(alt) > 100 for alt in page.alts)
    assert "Made up" in page.words

    ledger = [row for row in page.rows["read"] if len(row) == 4][1:]
    counts = {row[0].split(" dropped:")[0]: [_whole(n) for n in row[1:]] for row in ledger}
    assert all(seen == kept + dropped for seen, kept, dropped in counts.values())
    *parts, total = counts.values()
    assert total == [sum(column) for column in zip(*parts, strict=True)]
    turns = pl.read_parquet(out / "ifllm" / "turns" / "*.parquet")
    assert counts[next(name for name in counts if name.startswith("table turns"))][1] == len(turns)

    for line in table.splitlines()[:4]:
        title, *cells = re.split(r" {2,}", line)
        shown = [re.sub("^(all pairs|similar lengths) ", "", cell) for cell in cells]
        assert page.row("answer", title) == shown

    pairs = pl.read_parquet(out / "pairs.parquet")
    assert _whole(page.row("pairs", "explicit")[0]) == len(pairs)
    for prompt in pairs.unique("user_id", keep="first", maintain_order=True)["prompt"][:3]:
        assert " ".join(prompt.split())[:200] in page.words

    parts = [float(row[2]) for row in page.rows["score"] if len(row) == 3 and row[0] != "part"]
    *parts, lead = parts
    assert lead == pytest.approx(sum(parts), abs=0.03)
    chance = re.search(r"with a chance of (\d+)", page.words)
    assert chance is not None
    assert int(chance[1]) == pytest.approx(100 / (1 + math.exp(-lead)), abs=1)

    results = (out / "known-truth" / "results.jsonl").read_text().splitlines()
    for line, name in zip(results, ("clicks alone", "clicks and behaviour"), strict=True):
        record = json.loads(line)
        n, before, after = (sum(r[k] for r in record["readers"].values()) for k in range(3))
        row = page.row("dpo", name)
        assert int(row[0]) == record["labels"]["pairs"]
        assert row[1:3] == [f"{before / n:.2f}", f"{after / n:.2f}"]
        assert float(row[3].split()[0]) == pytest.approx((after - before) / n, abs=0.006)
    for adapter in (out / "known-truth").rglob("adapter_config.json"):
        assert adapter.parent.name in page.words


def _whole(number: str) -> int:
    return int(number.replace(",", ""))


def test_without_a_browser_the_page_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webbrowser

    from ifllm_hf.cli import _opened

    monkeypatch.setattr(webbrowser, "_tryorder", [])
    assert not _opened(tmp_path / "index.html")


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
    from ifllm_hf.demo import run
    from ifllm_hf.errors import ConfigError

    monkeypatch.setattr(run, "_NEEDED", ("json", "no_such_package_here"))
    with pytest.raises(ConfigError, match=r"no_such_package_here.*pip install"):
        run.run_demo(None, tmp_path, say=print, show=print)
    assert not list(tmp_path.iterdir())
