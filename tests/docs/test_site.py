"""The site of docs/: it builds without a warning, needs nothing from elsewhere, and is whole."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

import ifllm_hf
from ifllm_hf import errors

ROOT = Path(__file__).parents[2]


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = ["build", "--strict", "--config-file", str(config), "--site-dir", str(site)]
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; links, anchors and the navigation are checked while it is built."""
    place = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", place)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr[-3000:]
    return place


def test_a_broken_link_anchor_or_forgotten_page_fails(tmp_path: Path) -> None:
    pages = tmp_path / "docs"
    pages.mkdir()
    (pages / "index.md").write_text("# One\n\n[a](gone.md) [b](two.md#gone) [c](two.md#here)\n")
    (pages / "two.md").write_text("# Two\n\n## Here\n")
    (pages / "forgotten.md").write_text("# Three\n")
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "docs_dir": str(pages),
        "nav": ["index.md", "two.md"],
        "hooks": [],
        "plugins": [],
    }
    (tmp_path / "mkdocs.yml").write_text(yaml.safe_dump(settings))
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    warned = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert done.returncode != 0
    assert "gone.md" in done.stderr and "two.md#gone" in done.stderr
    assert "forgotten.md" in done.stderr and "#here" not in done.stderr
    assert len(warned) == 3


def test_every_page_of_docs_and_the_readme_are_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        made = site / page.relative_to(ROOT / "docs").with_suffix(".html")
        title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        (heading,) = re.findall(r"<h1.*?>(.*?)<a class", made.read_text(), re.DOTALL)
        assert html.unescape(re.sub("<.*?>", "", heading)) == title.replace("`", "")
    front = (site / "index.html").read_text()
    assert 'src="explore.png"' in front and (site / "explore.png").is_file()
    assert 'href="benchmark/report.html"' in front
    assert not list((site / "site").glob("*.py"))


def test_a_page_loads_nothing_from_elsewhere_and_names_no_address_of_its_own(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|iframe|source)[^>]* src="([^"]*)"', text)
        loaded += re.findall(r'<link[^>]* href="([^"]*)"', text)
        assert loaded and not [url for url in loaded if url.startswith(("http", "//"))], page
        assert 'rel="canonical"' not in text
    assert "<loc>" not in (site / "sitemap.xml").read_text()


def test_every_public_name_and_auto_class_has_its_place(site: Path) -> None:
    from ifllm_hf import capture, metrics, plot

    pages = {page.stem: page.read_text() for page in (site / "api").glob("*.html")}
    told = set(re.findall(r'id="([\w.]+)"', "".join(pages.values())))
    for name, module in ifllm_hf._EXPORTS.items():
        assert f"{module}.{name}" in told or name == "IFLLMError"
        assert f"<code>from ifllm_hf import {name}</code>" in pages["index"]
    for room in (capture, plot, metrics):
        names = [n for n in told if n.startswith(f"{room.__name__}.")]
        assert {f"{room.__name__}.{name}" for name in room.__all__} <= {*names}
    for name in ("AutoModel", "AutoProcessor", "AutoModelForSequenceClassification"):
        assert f"<code>{name}</code>" in pages["index"]


def tables(page: str) -> dict[str, dict[str, list[str]]]:
    """Return the rows of the tables under each heading, by their first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in re.split(r"<h[23] ", page)[1:]:
        title = re.sub("<.*?>", "", section.partition(">")[2].partition("<a class")[0])
        rows = re.findall(r"<tr>(.*?)</tr>", section, re.DOTALL)
        cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in rows]
        plain = [[html.unescape(re.sub("<.*?>", "", c)) for c in row] for row in cells if row]
        found[title] = {first: rest for first, *rest in plain}
    return found


def recipe_classes() -> list[type[Any]]:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.judge.config import JudgeConfig
    from ifllm_hf.alignment.known_truth.config import TruthGrid
    from ifllm_hf.alignment.known_truth.waves.config import TruthWaves
    from ifllm_hf.alignment.kto.config import UnpairedKTOConfig
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.pipeline.config import PipelineConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.reward.training import config as reward

    policies = [PairDataConfig, PairDPOConfig, PolicyConfig, UnpairedKTOConfig, PairSFTConfig]
    rewards = [reward.RewardDataConfig, reward.RewardInputConfig, reward.RewardTrainingConfig]
    return [*policies, *rewards, JudgeConfig, PipelineConfig, TruthGrid, TruthWaves]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_settings_are_those_of_the_dataclasses(site: Path) -> None:
    shown = tables((site / "settings.html").read_text())
    for kind in recipe_classes():
        ours = [c for c in kind.__mro__ if c.__module__.startswith("ifllm_hf.")]
        own = {name for c in ours for name in vars(c).get("__annotations__", {})}
        rows = shown[kind.__name__]
        wanted = [f for f in fields(kind) if f.name in own and f.init]
        assert {f.name for f in wanted} == {name for name in rows if not re.search(r"[.\[]", name)}
        for f in wanted:
            _, default, text = rows[f.name]
            assert text, f"{kind.__name__}.{f.name} says nothing"
            if f.default is MISSING:
                continue
            assert default == str(f.default) or yaml.safe_load(default) == f.default, f.name
    judge = shown["JudgeConfig"]
    assert {"judge.model", "candidates[].adapter", "prompts.fold"} <= judge.keys()


def test_an_error_is_found_by_its_words(site: Path) -> None:
    page = (site / "errors.html").read_text()
    ours = errors.IFLLMError
    classes = {n for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, ours)}
    sections = re.split(r"<h2 ", page)[1:]
    told = {re.findall(r'id="(\w+)"', section)[0] for section in sections}
    assert {name.lower() for name in classes - {"IFLLMError"}} == told
    with pytest.raises(ours) as seen:
        errors.require_one_of("side", "c", ("a", "b"))
    lines = [html.unescape(line) for line in re.findall(r"<li>([^<]+)</li>", page)]
    patterns = [re.escape(line).replace("…", ".+") for line in lines if "one of" in line]
    assert any(re.fullmatch(pattern, str(seen.value)) for pattern in patterns)
    assert len(lines) > 400
