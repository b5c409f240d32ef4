"""`ifllm audit` on folders of collected sessions, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf import cli
from ifllm_hf.benchmark.audit.report import audit_text
from ifllm_hf.benchmark.audit.run import run_audit
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.files import read_parquet
from tests.helpers.made_up_sessions import TrueSession, write_sessions


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["audit", *words]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = [line for line in err.splitlines() if line.startswith("ifllm audit: ")]
    return line


def test_collected_sessions_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = write_sessions(tmp_path / "sessions", 4, turns=2, gaze=False)
    assert cli.main(["audit", str(tmp_path / "sessions"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (page,) = printed["pages"]
    assert printed["made_up"] and printed["width"] == 0.05
    assert page["page"] is None and page["turns"] == page["pairs"]["kept"] == 8
    assert page["readers"] == len(written) and page["known_readers"] == 0
    assert page["verdict"] == "not yet" and page["leak_probe"] == []


def test_pages_that_sessions_know_are_audited_one_by_one(tmp_path: Path) -> None:
    write_sessions(tmp_path / "sessions", 3, turns=1, gaze=False)
    folder = tmp_path / "ifllm"
    prepare(tmp_path / "sessions", folder, progress=False)
    turns = read_parquet(config_files(folder, "turns"))
    first = turns["user_id"].min()
    for config in ("turns", "pairwise"):
        (file,) = config_files(folder, config)
        known = pl.when(pl.col("user_id") == first).then(pl.lit("chat"))
        rows = read_parquet([file]).with_columns(page=known)
        rows.write_parquet(file)
    found = run_audit(folder, progress=False, say=lambda _: None)
    assert [(page.page, page.turns, page.readers) for page in found.pages] == [
        (None, 2, 2),
        ("chat", 1, 1),
    ]
    assert {page.gain.level for page in found.pages} == {0.975}
    text = audit_text(found)
    assert "page not known\n" in text and "page chat\n" in text and "MADE UP" in text


def with_ties(session: TrueSession) -> None:
    lines = session.path.read_text(encoding="utf-8")
    for side in "ab":
        lines = lines.replace(f'"preference":"{side}"', '"preference":"tie"')
    session.path.write_text(lines, encoding="utf-8")


def test_sessions_of_ties_alone_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for session in write_sessions(tmp_path / "sessions", 2, turns=1, gaze=False):
        with_ties(session)
    line = refused(capsys, str(tmp_path / "sessions"))
    assert "2 tie" in line and f"{tmp_path / 'sessions'}: " in line


def test_sessions_without_pairs_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sessions(tmp_path / "sessions", 1, turns=1, kind="pointwise", gaze=False)
    assert "there are none" in refused(capsys, str(tmp_path / "sessions"))


def test_a_folder_that_nobody_has_read_into_yet_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sessions").mkdir()
    assert "first reader" in refused(capsys, str(tmp_path / "sessions"))


def test_a_width_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "width is 5" in refused(capsys, str(tmp_path), "--width", "5")
    assert "width is nan" in refused(capsys, str(tmp_path), "--width", "nan")
