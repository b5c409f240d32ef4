"""From sessions of chat pages, beside those of the app, to features and labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.cli import main
from ifllm_hf.data.prepared.prepare import PrepareReport, prepare
from ifllm_hf.data.schema import TABLE_SCHEMAS
from ifllm_hf.data.sessions.collected import open_sessions
from tests.helpers.chats.page_sessions import TrueChat, write_chat
from tests.helpers.made_up_sessions import write_session
from tests.helpers.ranks import in_ranks


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


@pytest.fixture
def chats(sessions: Path) -> list[TrueChat]:
    return [write_chat(sessions, seed, answers=n) for seed, n in enumerate((1, 2, 2, 3))]


def rows(folder: Path, config: str) -> pl.DataFrame:
    return pl.read_parquet(sorted((folder / config).glob("*.parquet")))


def without_texts(tables: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (of["seen"], of["kept"]) for name, of in tables.items()}


def test_sessions_of_both_kinds_are_one_export(
    sessions: Path, chats: list[TrueChat], tmp_path: Path
) -> None:
    app = write_session(sessions, 77, steps=10)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / app.path.name).write_bytes(app.path.read_bytes())
    of_app = prepare(alone, tmp_path / "of_app", progress=False).folder
    report = prepare(sessions, tmp_path / "both", progress=False)
    assert "messages" not in of_app.rows and not (of_app.path / "messages").exists()
    assert report.folder.rows["messages"] == 4 + 1 + 2 + 2 + 3
    assert report.folder.rows["actions"] == 4
    for config in TABLE_SCHEMAS:
        if config not in ("messages", "actions"):
            mine = rows(Path(of_app.path), config)
            both = rows(Path(report.folder.path), config)
            readers = mine["user_id"].implode()
            assert both.filter(pl.col("user_id").is_in(readers)).equals(mine), config
    counted = without_texts(report.ledgers["tables"])
    assert counted["messages"] == (12, 12) and counted["actions"] == (4, 4)
    assert counted["turns"] == (2 + 4, 2 + 2)
    assert (report.facts["pairwise"], report.facts["workers"]) == (4, 5)
    card = (Path(report.folder.path) / "README.md").read_text()
    assert "12 messages of chat pages" in card and "config_name: actions" in card
    assert "chat pages" not in (Path(of_app.path) / "README.md").read_text()


def test_features_and_labels_from_a_chat_page(
    sessions: Path,
    chats: list[TrueChat],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    report = prepare(sessions, tmp_path / "out", progress=False)
    folder = str(report.folder.path)
    assert main(["features", "features.parquet", "--from", folder]) == 0
    features = pl.read_parquet("features.parquet")
    assert features.height == 2 and (features["mouse_dwell_ms_a"] > 0).all()
    assert main(["label", "pairs.parquet", "--source", "actions", "--from", folder]) == 0
    pairs = pl.read_parquet("pairs.parquet")
    expected = {
        (chat.texts["answer-0"].markdown, other.markdown)
        for chat in chats
        for name, other in chat.texts.items()
        if name != "answer-0"
    }
    assert set(pairs.select("chosen", "rejected").iter_rows()) == expected
    assert pairs["rule"].unique().to_list() == ["like"]


def test_ranks_write_the_same(sessions: Path, chats: list[TrueChat], tmp_path: Path) -> None:
    write_session(sessions, 78, steps=6)
    plain: PrepareReport = prepare(sessions, tmp_path / "plain", progress=False)
    in_ranks(sessions, tmp_path / "ranks", 3)
    for config in plain.folder.rows:
        one, other = (rows(tmp_path / name, config) for name in ("plain", "ranks"))
        assert one.sort(one.columns[0]).equals(other.sort(one.columns[0])), config


def test_turns_and_questions_without_preparing(sessions: Path, chats: list[TrueChat]) -> None:
    opened = open_sessions(sessions)
    assert opened.turns.height == 2
    assert {question.text for question in opened.waiting} == {
        f"What is true of {seed}?" for seed in range(4)
    }
    json.dumps(opened.counts())
