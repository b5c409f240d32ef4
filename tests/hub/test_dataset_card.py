from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.card_template import fill, placeholders
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import card_metadata
from ifllm_hf.data.prepared.prepare import prepare_synthetic
from ifllm_hf.data.raw.download import RELEASE_DIGEST
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import CONFIGS, SCHEMAS, TICKS
from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards import numbers as card_numbers
from ifllm_hf.hub.cards.column_meanings import MEANINGS, column_tables
from ifllm_hf.hub.cards.dataset_card import TEMPLATE, rewrite_card, write_card
from ifllm_hf.hub.cards.shown_turn import ShownTurn, choose_turn
from ifllm_hf.hub.cards.tick_numbers import count_percentile, count_ticks
from ifllm_hf.hub.cards.wrapped_text import wrap

ROOT = Path(__file__).parents[2]
EXAMPLE = runpy.run_path(str(ROOT / "tests" / "data" / "prepared_example.py"))
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


def with_package() -> dict[str, str]:
    """Return an environment in which a child finds the package, installed or not."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return EXAMPLE["write"](tmp_path / "ifllm").path


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "ifllm"
    prepare_synthetic(8, out, seed=0, progress=False, card=write_card)
    return out


# -- the template ---------------------------------------------------------------------------------


def test_numbers_are_formatted_and_a_unit_without_its_number_disappears() -> None:
    template = (
        "# T\n\nAll {{n}} of {{share:.1%}}.\n\nGone {{x}}.\n\n- one {{n}}\n- two {{x}}\n- 3\n"
    )
    filled = fill(template, {"n": 12345, "share": 0.25, "x": None})
    assert filled == "# T\n\nAll 12,345 of 25.0%.\n\n- one 12,345\n- 3\n"


def test_a_section_goes_with_its_heading_or_with_its_last_sentence() -> None:
    template = (
        "# T\n\ntext\n\n## Cut {{x}}\n\nnot here\n\n### nor here\n\nno\n\n"
        "## Empty\n\n{{x}}\n\n## Stays\n\n### Sub\n\nyes\n"
    )
    assert fill(template, {"x": None}) == "# T\n\ntext\n\n## Stays\n\n### Sub\n\nyes\n"


def test_a_list_that_loses_its_last_item_still_ends() -> None:
    template = "- one\n- two {{x}}\n- three {{x}}\n\n## Next\n\ntext\n"
    assert fill(template, {"x": None}) == "- one\n\n## Next\n\ntext\n"


def test_fenced_code_is_one_unit_and_its_comments_are_no_headings() -> None:
    template = "# T\n\n```python\n# {{n}}\n\nx = 1\n\n- y\n```\n\nend\n"
    assert fill(template, {"n": 2}) == template.replace("{{n}}", "2")
    assert fill("a\n\n```\n{{n}}\n\nb\n```\n\nc\n", {"n": None}) == "a\n\nc\n"


def test_a_condition_leaves_no_trace() -> None:
    assert fill("a.{{real}}\n\nb.{{fake}}\n", {"real": "", "fake": None}) == "a.\n"


def test_a_name_nobody_counts_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        fill("{{nobody}}", {})


def test_no_number_is_typed_into_the_template() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    text = re.sub(r"```bibtex.*?```", "", text, flags=re.DOTALL)
    typed = re.findall(r"\d[\d,.]*\d", re.sub(r"\{\{[^}]*\}\}", "", text))
    assert set(typed) <= {"16", "0.5", "95", "2.0", "1000"}, "count it in card_numbers instead"


# -- columns --------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS)
def test_every_column_is_explained(config: str) -> None:
    text = "\n".join(column_tables().values())
    for name in SCHEMAS[config].names:
        assert f"| `{name}` |" in text


def test_no_meaning_is_left_of_a_column_that_is_gone() -> None:
    assert set(MEANINGS) == {name for schema in SCHEMAS.values() for name in schema.names}


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


def test_an_agreement_over_no_ticks_is_not_said(folder: Path) -> None:
    nothing = {"share": float("nan"), "ticks": 0, "agree": 0}
    assert "agree" not in card_numbers.quality_values({"agreement": nothing}).values()
    assert "nan" not in write_card(folder, {"quality": {"agreement": nothing}}).lower()


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


# -- ticks ----------------------------------------------------------------------------------------


def conversation(
    name: str, t_ms: list[float], **columns: Any
) -> tuple[str, tuple[str, int, pa.Table]]:
    n = len(t_ms)
    values: dict[str, Any] = {c: [None] * n for c in TICKS.names}
    values |= {
        "conversation_id": [name] * n,
        "page_load": [0] * n,
        "file_row": list(range(n)),
        "t_ms": t_ms,
        "epoch_ms": [1_760_000_000_000 + int(t) for t in t_ms],
        "mouse_surface": ["page"] * n,
        **columns,
    }
    return name, pa.table(values, schema=TICKS)


def write_ticks(out: Path, *conversations: Any) -> list[Path]:
    def rows() -> Iterator[ConversationRows]:
        for name, table in conversations:
            user, task = name.split("/")
            yield ConversationRows(name, user, int(task), "pairwise", 0, table)

    EXAMPLE["write"](out, conversations=rows())
    return card_numbers.shards(out, "ticks")


def test_intervals_stay_inside_conversation_and_page_load(tmp_path: Path) -> None:
    files = write_ticks(
        tmp_path / "ifllm",
        conversation("u/1", [0, 50, 100, 1700], file_row=[0, 2, 1, 3]),
        conversation("u/3", [5000, 5075, 10, 85], page_load=[0, 0, 1, 1]),
    )
    numbers = count_ticks(files)
    assert (numbers.ticks, numbers.conversations) == (8, 2)
    assert numbers.intervals.sum() == 5
    assert [numbers.interval_percentile(p) for p in (1, 50, 99)] == [50.0, 75.0, 1600.0]
    assert sorted(numbers.median_intervals_ms) == [50.0, 75.0]
    assert (numbers.gaps, numbers.reloads, numbers.reordered) == (1, 1, 1)
    assert numbers.phases == {"reading": 0, "rating": 0, "after": 0, "before": 8}


def test_distance_of_gaze_and_mouse_by_rest_of_the_mouse(tmp_path: Path) -> None:
    files = write_ticks(
        tmp_path / "ifllm",
        conversation(
            "u/1",
            [0, 50, 100, 150],
            gaze_x_px=[3, 30, 300, 1],
            gaze_y_px=[4, 40, 400, 1],
            mouse_x_px=[0, 0, 0, None],
            mouse_y_px=[0, 0, 0, None],
            mouse_idle_ms=[0, 900, 1600, None],
            camera_ok=[True, False, None, True],
        ),
    )
    numbers = count_ticks(files)
    assert numbers.median_distance_px("moved") == 5
    assert numbers.median_distance_px("idle") == 500
    assert numbers.camera == {"true": 2, "false": 1, "null": 1}


@given(st.lists(st.integers(0, 30), min_size=1, max_size=60), st.sampled_from([1, 5, 50, 95, 99]))
def test_percentile_of_counts_is_that_of_the_values(values: list[int], percent: int) -> None:
    counts = np.bincount(values, minlength=31)
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert count_percentile(counts, percent) == expected


def test_percentile_of_nothing_is_none() -> None:
    assert count_percentile(np.zeros(4, np.int64), 50) is None


def test_the_leak_is_measured_where_the_click_was(tmp_path: Path) -> None:
    """In `rating` the mouse goes to the side of the choice; in `reading` it goes nowhere."""
    turns, conversations = [], []
    for i in range(12):
        name, choice = f"u{i}/{2 * i + 1}", "ab"[i % 2]
        turns.append({**EXAMPLE["turn"](100 + i, name, 1), "preference": choice})
        places = [0, 1000, 400, 800 if choice == "b" else 600]
        ticks = conversation(
            name,
            [0, 50, 100, 150],
            query_id=[100 + i] * 4,
            mouse_x_px=places,
            phase=["after", "after", "reading", "rating"],
        )
        conversations.append(ticks)
    out = tmp_path / "ifllm"
    from ifllm_hf.data.schema import TURNS

    rows = (
        ConversationRows(name, name.split("/")[0], int(name.split("/")[1]), "pairwise", 0, table)
        for name, table in conversations
    )
    frame = pl.from_arrow(pa.Table.from_pylist(turns, schema=TURNS))
    EXAMPLE["write"](out, turns=frame, conversations=rows)
    values = card_numbers.tick_values(
        count_ticks(card_numbers.shards(out, "ticks")), card_numbers.read_turns(out)
    )
    assert values["leak_rating"] == "1.00 [1.00, 1.00] (n = 12, 12 readers)"
    assert values["leak_reading"] == "0.50 [0.50, 0.50] (n = 12, 12 readers)"


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


# -- figures --------------------------------------------------------------------------------------


def test_figures_are_solid_and_the_same_each_time(made_up: Path) -> None:
    from matplotlib.image import imread

    first = {p.name: p.read_bytes() for p in (made_up / "figures").iterdir()}
    assert set(first) == {"reading.png", "heat.png", "intervals.png"}
    rewrite_card(made_up)
    for path in (made_up / "figures").iterdir():
        assert path.read_bytes() == first[path.name]
        pixels = imread(path)
        assert pixels.shape[2] == 3 or bool((pixels[..., 3] == 1).all())
        assert (pixels[0, 0, :3] == 1).all() and (pixels[-1, -1, :3] == 1).all()
        assert pixels[..., :3].std() > 0.02, "an empty picture"


def test_drawing_leaves_matplotlib_as_it_was(made_up: Path) -> None:
    code = (
        "import sys, matplotlib; from pathlib import Path\n"
        "from ifllm_hf.hub.cards.dataset_card import write_card\n"
        "matplotlib.rcParams['font.size'] = 3.0; matplotlib.rcParams['axes.facecolor'] = 'black'\n"
        f"write_card(Path({str(made_up)!r}))\n"
        "assert matplotlib.rcParams['font.size'] == 3.0\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    before = (made_up / "figures" / "reading.png").read_bytes()
    subprocess.run([sys.executable, "-c", code], env=with_package(), check=True)
    assert (made_up / "figures" / "reading.png").read_bytes() == before


def test_without_matplotlib_the_card_says_how_to_get_the_figures(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    card = write_card(folder)
    assert "pip install matplotlib" in card
    assert "figures/" not in card and not (folder / "figures").exists()


def test_no_figure_of_a_turn_where_there_is_none(tmp_path: Path) -> None:
    out = EXAMPLE["write"](tmp_path / "ifllm", conversations=iter(())).path
    card = write_card(out)
    assert "figures/" not in card and "What readers did" not in card
    assert "pip install matplotlib" not in card


def reading_turn(query_id: int, answers: tuple[str, str], on: list[tuple[str, str]]) -> Any:
    """Return a turn and its conversation; `on` is (gaze, mouse) per half second."""
    name = f"u{query_id}/1{query_id}1"
    turn = {
        **EXAMPLE["turn"](query_id, name, 1),
        "response_a": answers[0],
        "response_b": answers[1],
        "preference": "a",
    }
    n = len(on)
    chars = {"none": None, "a": 1, "b": 0}
    ticks = conversation(
        name,
        [500.0 * i for i in range(n)],
        query_id=[query_id] * n,
        phase=["reading"] * (n - 1) + ["rating"],
        gaze_on=[g for g, _ in on],
        mouse_on=[m for _, m in on],
        gaze_char=[chars[g] for g, _ in on],
        mouse_char=[chars[m] for _, m in on],
    )[1]
    return turn, ConversationRows(
        name, f"u{query_id}", turn["task_id"], "pairwise", 0, ticks, {query_id: "rating_zone"}
    )


def write_turns(out: Path, *made: Any) -> Path:
    from ifllm_hf.data.schema import TURNS

    frame = pl.from_arrow(pa.Table.from_pylist([turn for turn, _ in made], schema=TURNS))
    path: Path = EXAMPLE["write"](out, turns=frame, conversations=(c for _, c in made)).path
    return path


def test_the_shown_turn_is_the_one_with_gaze_and_mouse_together(tmp_path: Path) -> None:
    apart, together = [("a", "b")] * 80, [("a", "a")] * 60 + [("none", "b")] * 20
    long = reading_turn(3, ("x" * 5000, "y"), [("b", "b")] * 80)  # best, but too long to show
    made = [reading_turn(1, ("xy", "z"), apart), reading_turn(2, ("xy", "z"), together), long]
    out = write_turns(tmp_path / "ifllm", *made)
    turn = choose_turn(card_numbers.shards(out, "pairwise"))
    assert turn is not None and turn.query_id == 2
    assert turn.same_share == pytest.approx(60 / 79)
    assert turn.dwell_ms("gaze", "a").tolist() == [0.0, 60 * 500.0]
    assert turn.dwell_ms("mouse", "b").tolist() == [19 * 500.0]


def test_dwell_counts_reading_only_and_caps_gaps() -> None:
    turn = ShownTurn(
        query_id=1,
        user_id="u",
        prompt="p",
        answers={"a": "abc", "b": ""},
        preference=None,
        t_s=np.array([0.0, 0.1, 9.0, 9.2]),
        phase=np.array([0, 0, 1, 0], np.int8),
        on={"gaze": np.array([1, 1, 1, 1], np.int8)},
        char={"gaze": np.array([0, 2, 2, 1])},
        same_share=0.0,
    )
    assert turn.dwell_ms("gaze", "a") == pytest.approx([100.0, 0.0, 500.0])


def test_answers_that_are_hard_to_draw_are_drawn(tmp_path: Path) -> None:
    text = "$x_1$ costs $5 & <b>\t\U0001f642 漢字 \\frac{1}{2}\n\n" + "w" * 150 + "\nend"
    made = reading_turn(1, (text, "z"), [("a", "a")] * 80)
    made[0]["prompt"] = "Is *this* {{n}} <b>\n| bold?"
    out = write_turns(tmp_path / "ifllm", made)
    card = write_card(out)
    assert "figures/heat.png" in card
    assert r'"Is \*this\* \{\{n\}\} \<b\> \| bold?"' in card


@given(st.text(alphabet="ab \n\t$é🙂", max_size=80), st.integers(1, 12))
def test_wrapping_keeps_every_character_in_its_place(text: str, columns: int) -> None:
    placed, rows = wrap(text, columns)
    assert all(len(row) <= columns for row in rows)
    shown = "".join(rows).replace(" ", "")
    assert shown == re.sub(r"[ \n\t]", "", text)
    for character, (row, column) in zip(text, placed.tolist(), strict=True):
        if row >= 0:
            assert rows[row][column] == character.replace("\t", " ")
        else:
            assert character in " \n\t"


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
    assert placeholders(TEMPLATE.read_text(encoding="utf-8"))
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
