"""What lies in the file of verdicts, and what is asked and paid for again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.endpoint import EndpointJudge
from ifllm_hf.alignment.judge.kept_verdicts import NOT_YET, KeptVerdicts
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.judge.verdict import Comparison, Judged
from ifllm_hf.errors import ConfigError, DataError
from tests.helpers.alignment.judging import config, endpoint
from tests.helpers.loopback_judge import LoopbackJudge as Server

PAIRS = [Comparison(f"p{i}", "r", f"Why {i}?", "short", "much longer than that") for i in range(4)]


def judged(path: Path, server: Any, *, ask_again: bool = False, **settings: Any) -> list[Judged]:
    settings = {"timeout_s": 5.0, "concurrency": 1, "stop_after": 3, **settings}
    judge = EndpointJudge(
        JudgeSettings(
            kind="endpoint", model="m", base_url=server.url, api_key_env="JUDGE_KEY", **settings
        ),
        sleep=lambda _: None,
    )
    with KeptVerdicts(path, judge, ask_again=ask_again) as kept:
        kept.ask(PAIRS, "", False)
        return kept.outcome(PAIRS)


@pytest.mark.parametrize("mishap", ["vllm context", "azure filter", "nginx large"])
def test_a_refused_question_is_kept_and_asked_again_only_on_request(
    tmp_path: Path, mishap: str
) -> None:
    with Server(mishaps=("", mishap)) as server:
        first = judged(tmp_path / "v.jsonl", server)
        assert sum(j.refused for j in first) == 1 and len(server.requests) == 8
        again = judged(tmp_path / "v.jsonl", server)
        assert len(server.requests) == 8
        assert [j.failed for j in again] == [j.failed for j in first]
        asked = judged(tmp_path / "v.jsonl", server, ask_again=True)
    assert len(server.requests) == 9 and all(j.verdict for j in asked)


def test_what_settings_refuse_is_not_held_against_the_questions(tmp_path: Path) -> None:
    with Server(mishaps=("openai parameter",) * 4) as server:
        with pytest.raises(ConfigError):
            judged(tmp_path / "v.jsonl", server)
        server.mishaps.clear()
        assert all(j.verdict for j in judged(tmp_path / "v.jsonl", server))


def test_a_lost_question_that_cost_nothing_leaves_no_record(tmp_path: Path) -> None:
    with Server(mishaps=("", "500", "500")) as server:
        got = judged(tmp_path / "v.jsonl", server, tries=2)
    (lost,) = [j for j in got if j.verdict is None]
    assert "no answer" in str(lost.failed) != NOT_YET
    assert len((tmp_path / "v.jsonl").read_text().splitlines()) == 7


def test_a_verdict_asked_for_twice_costs_twice(tmp_path: Path, questions: Path) -> None:
    """Both candidates gave the same answers; the first time nothing could be read."""
    with Server(mishaps=("prose",) * 4) as server:
        made = config(tmp_path, questions, judge=endpoint(server, tries=2, concurrency=1))
        same = [{"name": n, "answers": made.candidates[0].answers} for n in ("one", "two")]
        made = config(
            tmp_path, questions, candidates=same, judge=endpoint(server, tries=2, concurrency=1)
        )
        for _ in range(2):
            report = run_judge(made, progress=False)
    assert report["judge"]["usage"]["requests"] == len(server.requests) == 30 + 4
    assert report["judge"]["usage"]["output_tokens"] == 10 * (30 + 4)
    assert not report["judge"]["failed"]


def test_a_report_counts_refused_questions_by_reason(tmp_path: Path, questions: Path) -> None:
    with Server(mishaps=("", "azure filter", "vllm context", "openai context")) as server:
        made = config(tmp_path, questions, judge=endpoint(server, concurrency=1))
        report = run_judge(made, progress=False)
        assert sorted(report["judge"]["failed"].values()) == [1, 2]
        assert len(server.requests) == 60
    assert "content filter" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b + b'{"key": "torn',
        lambda b: b + b"\0" * 512,
        lambda b: b"\0" * 512 + b,
        lambda b: b.replace(b"\n", b"\n" + b"\0" * 64, 1),
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b.replace(b"\n", b"\n\n"),
        lambda b: b.replace(b"Because.", b"\\ud83d"),
        lambda b: b.replace(b"Because.", "\u2028\u0085".encode()),
    ],
)
def test_a_damaged_file_loses_no_verdict(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "v.jsonl"
    with Server() as server:
        judged(path, server)
        path.write_bytes(damage(path.read_bytes()))
        for _ in range(2):
            assert all(j.verdict for j in judged(path, server))
        assert len(server.requests) == 8


@pytest.mark.parametrize("record", [{"answer": "x"}, {"verdict": 5}, {"verdict": {"winner": "x"}}])
def test_a_file_of_something_else_is_refused_by_name(
    tmp_path: Path, record: dict[str, Any]
) -> None:
    path = tmp_path / "v.jsonl"
    with Server() as server:
        judged(path, server)
        key = json.loads(path.read_text().splitlines()[0])["key"]
        path.write_text(json.dumps({"key": key, **record}) + "\n")
        with pytest.raises(DataError, match=f"v.jsonl.*{key}"):
            judged(path, server)


def test_half_an_emoji_is_read_back_as_it_was(tmp_path: Path) -> None:
    from ifllm_hf.append_file import AppendFile

    for _ in range(2):
        with AppendFile(tmp_path / "x.jsonl") as file:
            file.add({"key": "a", "text": "half \ud83d, whole \U0001f600"})
    with AppendFile(tmp_path / "x.jsonl") as file:
        assert file.records["a"]["text"] == "half \ud83d, whole \U0001f600"
