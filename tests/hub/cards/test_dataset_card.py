from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import card_metadata
from ifllm_hf.data.raw.download import RELEASE_DIGEST
from ifllm_hf.data.schema import SCHEMAS
from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards.dataset_card import TEMPLATE, rewrite_card, write_card
from tests.helpers.fresh_process import with_package

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "dataset_card" / "build.py"

LEDGERS = {
    "tables": {
        "tasks": {
            "seen": 9,
            "kept": 8,
            "repaired_by": {"email_masked": 3},
            "dropped": {"twice": 1},
        },
        "turns": {"seen": 6, "kept": 6, "repaired_by": {"clock_ahead": 4}, "dropped": {}},
    },
    "behavior": {
        "abs_gaze.csv": {
            "seen": 40,
            "kept": 20,
            "repaired_by": {},
            "dropped": {"batch written twice": 20},
        }
    },
}
QUALITY = {"agreement": {"share": 0.975, "ticks": 4000, "agree": 3900, "at_boundary": 60,
                         "earlier": 20, "later": 12, "before_first": 8}}  # fmt: skip


# -- the template ---------------------------------------------------------------------------------


def test_no_number_is_typed_into_the_template() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"```bibtex.*?```", "", text, flags=re.DOTALL)
    typed = re.findall(r"\d[\d,.]*\d", re.sub(r"\{\{[^}]*\}\}", "", text))
    assert set(typed) <= {"16", "0.5", "95", "2.0", "1000"}, "count it in card_numbers instead"


def test_the_line_for_tensors_runs(
    prepared_small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = re.search(r"`(load_dataset[^`]*torch[^`]*)`", TEMPLATE.read_text(encoding="utf-8"))
    assert told is not None
    monkeypatch.chdir(prepared_small.parent)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    pairs = eval(told[1], {"load_dataset": datasets.load_dataset})
    assert isinstance(pairs[0]["query_id"], torch.Tensor)


# -- numbers --------------------------------------------------------------------------------------


def test_the_card_counts_what_lies_in_the_folder(folder: Path) -> None:
    card = write_card(folder)
    assert "| questions | **6** in 3 conversations (2 with more than one question) |" in card
    assert "| side by side / one answer | 4 pairs / 2 single answers |" in card
    assert "| preferences | left 1, right 1, not given 2 |" in card
    assert "| readers | 3; 3 of them with recordings |" in card
    assert "16 in 3 conversations |" in card
    assert "Questions in conversations without any recording: **1** (by month: 2025-10: 1)" in card
    assert "Recorded conversations without a question in the log: **1**." in card
    for config, n in {"pairwise": 4, "pointwise": 2, "ticks": 3, "workers": 1}.items():
        assert f"| `{config}` | {n} |" in card
    assert "{{" not in card


def test_without_ledgers_the_card_says_nothing_of_them(folder: Path) -> None:
    card = write_card(folder)
    for words in ("accounted for", "written twice", "ahead of UTC", "Judged on ticks", "digest"):
        assert words not in card
    card = write_card(folder, {"ledgers": LEDGERS, "quality": QUALITY, "digest": RELEASE_DIGEST})
    assert "whole hours ahead of UTC: **4**" in card
    assert "that the server wrote twice: **20**" in card
    assert "are masked in `tasks` (3 rows)" in card
    assert "| `tasks` | 9 | 8 | email masked 3 | twice 1 |" in card
    assert "task table has 9 *rows*" in card
    assert "of 4,000 sightings whose text occurs in one answer only, **97.5%** agree" in card
    assert "an earlier answer (0.50%) or a later one (0.30%)" in card
    assert "that of the release at this commit" in card
    assert "not that of the release" in write_card(folder, {"digest": "0" * 64})


def test_the_front_matter_is_that_of_a_dataset_card(folder: Path) -> None:
    metadata = yaml.safe_load(rewrite_card(folder).read_text().split("---\n")[1])
    assert metadata["license"] == "apache-2.0"
    assert metadata["size_categories"] == ["n<1K"]
    assert {"language", "tags", "task_categories", "pretty_name"} <= set(metadata)
    ours = card_metadata(folder)
    assert {key: metadata[key] for key in ours} == ours
    assert is_prepared(folder)


def test_a_folder_without_a_config_is_refused(folder: Path) -> None:
    next((folder / "tasks").iterdir()).unlink()
    with pytest.raises(TableError, match="tasks: holds no Parquet file"):
        write_card(folder)


def test_anonymity_is_counted_not_claimed(folder: Path) -> None:
    people = [("x", "30-39")] * 5 + [("y", None)] * 7
    rows = {
        **dict.fromkeys(SCHEMAS["workers"].names, [None] * 12),
        "user_id": [f"w{i}" for i in range(12)],
        "consent": [True] * 11 + [False],
        "age": [age for _, age in people],
    }
    (file,) = (folder / "workers").iterdir()
    pq.write_table(pa.table(rows, schema=SCHEMAS["workers"]), file)
    card = write_card(folder)
    assert "is shared by at least **5** people; 5 of 12 still have some such value" in card
    assert "People who did not consent: 1." in card


# -- synthetic releases ---------------------------------------------------------------------------


def test_a_made_up_card_says_so_first_and_cites_nobody(made_up: Path) -> None:
    card = (made_up / "README.md").read_text(encoding="utf-8")
    metadata = yaml.safe_load(card.split("---\n")[1])
    assert "synthetic" in metadata["tags"] and "made up" in metadata["pretty_name"]
    title, banner = card.split("---\n", 2)[2].strip().split("\n\n")[:2]
    assert title.startswith("# ") and "SYNTHETIC" in title
    assert banner.startswith("> ") and "every reader, question, answer and number" in banner
    for words in ("arxiv", "bibtex", "Mechanical Turk", "paper", "took part"):
        assert words not in card.replace("`excluded_by_paper` | yes/no | the paper's", ""), words
    assert "{{" not in card


def test_made_up_readers_are_known_without_being_told(made_up: Path) -> None:
    assert write_card(made_up) == write_card(made_up, {"synthetic": True})


def test_the_snippet_of_the_card_runs(made_up: Path, tmp_path: Path) -> None:
    card = (made_up / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    check = "\nassert len(seconds) == len(side) == len(character) > 0 and seconds[0] >= 0\n"
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code + check],
        cwd=made_up.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# -- the script -----------------------------------------------------------------------------------


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BUILD), *map(str, arguments)]
    return subprocess.run(command, env=with_package(), capture_output=True, text=True, check=False)


def test_the_script_rewrites_the_card_of_a_prepared_folder(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"ledgers": LEDGERS, "quality": QUALITY, "synthetic": False}))
    done = run_script(folder, "--report", report)
    assert (done.returncode, done.stdout) == (0, f"{folder / 'README.md'}\n"), done.stderr
    assert is_prepared(folder) and "**97.5%** agree" in (folder / "README.md").read_text()


def test_the_script_says_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    done = run_script(tmp_path)
    assert done.returncode == 1 and "not a prepared folder" in done.stderr
    (tmp_path / "report.json").write_text("{")
    done = run_script(folder, "--report", tmp_path / "report.json")
    assert done.returncode == 1 and "cannot be read as JSON" in done.stderr
    assert "Traceback" not in done.stderr


def test_every_placeholder_is_counted_for_real_and_made_up_data(folder: Path) -> None:
    assert "{{" in TEMPLATE.read_text(encoding="utf-8")
    for report in ({}, {"synthetic": True}, {"ledgers": LEDGERS, "quality": QUALITY}):
        assert "{{" not in write_card(folder, report)


# -- the release ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_card_of_the_release_states_its_known_facts(prepared_release: Path) -> None:
    card = (prepared_release / "README.md").read_text(encoding="utf-8")
    for fact in (
        "**1,691** in 512 conversations (509 with more than one question)",
        "821 pairs / 870 single answers",
        "left 400, right 387, not given 34",
        "| readers | 87; 79 of them with recordings |",
        "1,833,139 in 462 conversations",
        "task table has 1,336 *rows*",
        "The nearest number of readers below is 57.",
        "leaves out 24 readers by name",
        "whole hours ahead of UTC: **145**",
        "(by month: 2025-04: 23, 2026-01: 155)",
        "is shared by at least **5** people",
        "who did not consent: 0.",
    ):
        assert fact in card
    assert "SYNTHETIC" not in card
    leak = re.search(r"AUC in `rating`: \*\*([\d.]+) .*; in `reading`: \*\*([\d.]+) ", card)
    assert leak and float(leak[1]) > 0.62 and abs(float(leak[2]) - 0.5) < 0.06
    assert {p.name for p in (prepared_release / "figures").iterdir()} == {
        "reading.png", "heat.png", "intervals.png"
    }  # fmt: skip
