"""Whole judging runs on ready answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.errors import ConfigError, SourceError
from tests.helpers.alignment.judging import answers, config, endpoint
from tests.helpers.loopback_judge import LoopbackJudge as Server
from tests.helpers.loopback_judge import always_first


def test_a_run_says_what_it_found_and_what_it_cost(tmp_path: Path, questions: Path) -> None:
    with Server() as server:
        judge = endpoint(server, input_price=2.0, output_price=10.0)
        report = run_judge(config(tmp_path, questions, judge=judge), progress=False)
    assert server.problems == []
    small, large = report["candidates"]["explicit"], report["candidates"]["both"]
    assert (small["n"], small["workers"]) == (15, 3)
    assert small["win_rate"]["estimate"] == 1.0 and small["wins"] == 15
    # To this judge a word is a point, and the small candidate says one word more.
    before = [3 + i % 4 for i in range(0, 30, 2)]
    assert small["relative_improvement"]["estimate"] == pytest.approx(15 / sum(before))
    assert large["baseline_score"]["estimate"] == pytest.approx(sum(before) / 15)
    (ratio,) = report["ratios"]
    assert ratio["candidate"] == "both" and ratio["divided_by"] == "explicit"
    assert ratio["ratio"]["estimate"] == pytest.approx(3.0)
    assert small["position"]["found"] is False and small["position"]["same_winner"] == 1.0
    assert {n: part["n"] for n, part in small["by_baseline_length"].items()} == {
        "short": 8, "middling": 7,
    }  # fmt: skip
    usage = report["judge"]["usage"]
    assert usage["requests"] == len(server.requests) == 60
    assert report["judge"]["cost"] == pytest.approx((2 * usage["input_tokens"] + 10 * 600) / 1e6)
    out = tmp_path / "out"
    assert json.loads((out / "report.json").read_text()) == report
    text = (out / "report.md").read_text()
    for part in (
        "judge-1 at temperature 0, each pair in both orders", "15 of 3 readers",
        "held out by reader (fold 0)", "They draw 3 readers", "both / explicit: 3.00",
        "no bias found", "60 requests",
    ):  # fmt: skip
        assert part in text, part
    assert "sesame" not in text + (out / "report.json").read_text()
    assert str(tmp_path) not in text + (out / "report.json").read_text()
    assert (out / "report.png").stat().st_size > 5000


def test_a_judge_of_places_is_reported_and_gives_one_half(tmp_path: Path, questions: Path) -> None:
    with Server(always_first) as server:
        report = run_judge(config(tmp_path, questions, judge=endpoint(server)), progress=False)
    got = report["candidates"]["both"]
    assert got["win_rate"] == {"estimate": 0.5, "low": 0.5, "high": 0.5, "level": 0.95}
    assert got["relative_improvement"]["estimate"] == 0.0
    assert got["position"]["found"] is True
    assert report["ratios"][0]["ratio"] is None
    text = (tmp_path / "out" / "report.md").read_text()
    assert "bias found" in text and "undefined" in text and "cost not known" in text


def test_a_killed_run_pays_for_nothing_twice(tmp_path: Path, questions: Path) -> None:
    with Server(mishaps=("",) * 9 + ("503",) * 9) as server:
        judge = endpoint(server, tries=1, concurrency=1)
        with pytest.raises(SourceError, match="kept"):
            run_judge(config(tmp_path, questions, judge=judge), progress=False)
        cache = tmp_path / "out" / "verdicts.jsonl"
        assert len(cache.read_text().splitlines()) == 9
        with cache.open("ab") as file:
            file.write(b'{"key": "torn')
        server.mishaps.clear()
        server.requests.clear()
        run_judge(config(tmp_path, questions, judge=judge), progress=False)
        assert len(server.requests) == 60 - 9
        again = run_judge(config(tmp_path, questions, judge=judge), progress=False)
        assert len(server.requests) == 60 - 9
        assert again["judge"]["usage"]["requests"] == 60
        # Other answers, and another judge, are judged anew.
        answers(tmp_path / "more.jsonl", lambda i: "word " * (6 + i % 4 + (i == 0)))
        more = [{"name": "more", "answers": str(tmp_path / "more.jsonl")}]
        run_judge(config(tmp_path, questions, judge=judge, candidates=more), progress=False)
        assert len(server.requests) == 60 - 9 + 2
        other = {**judge, "model": "judge-2"}
        run_judge(config(tmp_path, questions, judge=other, candidates=more), progress=False)
        assert len(server.requests) == 60 - 9 + 2 + 30


def test_a_pair_without_a_verdict_is_counted_and_tried_next_time(
    tmp_path: Path, questions: Path
) -> None:
    with Server(mishaps=("prose",) * 2) as server:
        judge = endpoint(server, tries=2, concurrency=1)
        report = run_judge(config(tmp_path, questions, judge=judge), progress=False)
        assert report["candidates"]["explicit"]["n"] == 14
        assert sum(report["judge"]["failed"].values()) == 1
        assert "not JSON" in (tmp_path / "out" / "report.md").read_text()
        report = run_judge(config(tmp_path, questions, judge=judge), progress=False)
        assert report["candidates"]["explicit"]["n"] == 15 and not report["judge"]["failed"]
        assert report["judge"]["usage"]["malformed"] == 2


def test_equal_answers_are_two_verdicts(tmp_path: Path, questions: Path) -> None:
    same = [{"name": "same", "answers": answers(tmp_path / "before.jsonl", lambda i: "word")}]
    with Server() as server:
        made = config(tmp_path, questions, judge=endpoint(server), candidates=same)
        answers(tmp_path / "before.jsonl", lambda i: "word")
        report = run_judge(made, progress=False)
    assert report["candidates"]["same"]["n"] == 15
    assert report["candidates"]["same"]["win_rate"]["estimate"] == 0.5


# --- settings and files --------------------------------------------------------------------------


@pytest.mark.parametrize("eval_fold", [None, 1])
def test_nobody_judges_a_model_that_was_trained_on_them(
    tmp_path: Path, questions: Path, eval_fold: int | None
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text(json.dumps({"settings": {"eval_fold": eval_fold}}))
    made = config(
        tmp_path, questions, candidates=[{"name": "one", "adapter": str(tmp_path / "one")}],
        baseline={"name": "b", "model": "m"},
    )  # fmt: skip
    with pytest.raises(ConfigError, match=f"one .*eval_fold {eval_fold}"):
        run_judge(made, progress=False)


def test_a_report_names_models_whose_labeller_saw_the_judges(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.alignment.judge import run as judge

    specs = []
    for name, saw in (("one", 4), ("two", 0)):
        (tmp_path / name).mkdir()
        run = {"settings": {"eval_fold": 0}, "data": {"labeller_saw": saw}}
        (tmp_path / name / "run.json").write_text(json.dumps(run))
        specs.append({"name": name, "adapter": str(tmp_path / name)})
    generate = judge.generate_answers

    def ready(spec: Any, *arguments: Any, **options: Any) -> Any:
        file = answers(tmp_path / f"{spec.name}.jsonl", lambda i: f"{spec.name} {i}")
        return generate(ModelSpec(spec.name, answers=file), *arguments, **options)

    monkeypatch.setattr(judge, "generate_answers", ready)
    monkeypatch.setattr(judge, "make_backend", lambda *_: None)
    monkeypatch.setattr(judge, "check_access", lambda place: None)
    with Server() as server:
        made = config(
            tmp_path, questions, candidates=specs, baseline={"name": "b", "model": "m"},
            judge=endpoint(server),
        )  # fmt: skip
        report = run_judge(made, progress=False)
    assert report["labellers_saw_readers"] == ["one"]
    said = "**The clicks of these readers trained the models that labelled for one.**"
    assert said in (tmp_path / "out" / "report.md").read_text()


def test_a_report_says_what_answered(
    tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.alignment.judge import run as judge

    specs, seen = [], {}
    for name, method in (("q", "qlora"), ("l", "lora")):
        (tmp_path / name).mkdir()
        settings = {"eval_fold": 0, "method": method, "dtype": "bfloat16"}
        (tmp_path / name / "run.json").write_text(json.dumps({"settings": settings}))
        specs.append({"name": name, "adapter": str(tmp_path / name)})
    given = answers(tmp_path / "given.jsonl", lambda i: f"given {i}")
    specs.append({"name": "given", "answers": given})
    generate = judge.generate_answers

    def ready(spec: Any, *arguments: Any, weights: Any, **options: Any) -> Any:
        seen[spec.name] = weights
        file = answers(tmp_path / f"{spec.name}.jsonl", lambda i: f"{spec.name} {i}")
        return generate(ModelSpec(spec.name, answers=file), *arguments, **options)

    monkeypatch.setattr(judge, "generate_answers", ready)
    monkeypatch.setattr(judge, "check_access", lambda place: None)
    with Server() as server:
        made = config(
            tmp_path, questions, candidates=specs, baseline={"name": "b", "model": "m"},
            judge=endpoint(server),
        )  # fmt: skip
        report = run_judge(made, progress=False)
    assert {name: model["answered_by"] for name, model in report["models"].items()} == {
        "b": "NF4 weights", "q": "NF4 base + adapter", "l": "float32 base + adapter",
        "given": "ready answers",
    }  # fmt: skip
    assert seen["b"].precision == seen["q"].precision and seen["given"] is None
    assert report["unlike"] == ["l"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "What answered: b: NF4 weights; q: NF4 base + adapter; l: float32" in text
    assert "**Baseline and l stand on weights of unlike precision" in text


def test_a_model_that_is_not_there_is_known_before_any_answer(
    tmp_path: Path, questions: Path, tiny: Callable[..., Path]
) -> None:
    made = config(
        tmp_path, questions, baseline={"name": "b", "model": str(tiny())},
        candidates=[{"name": "one", "adapter": str(tmp_path / "nowhere")}],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        run_judge(made, progress=False)
    assert not (tmp_path / "out").exists()


def test_candidates_trained_on_different_formats_are_refused(
    tmp_path: Path, questions: Path
) -> None:
    specs = []
    for name, template in (("one", "Q: {prompt}\nA:"), ("two", "Question: {prompt}\n\nAnswer:")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(
            json.dumps({"settings": {"prompt_template": template, "beta": 0.1, "eval_fold": 0}})
        )
        specs.append({"name": name, "adapter": str(tmp_path / name)})
    made = config(tmp_path, questions, candidates=specs, baseline={"name": "b", "model": "m"})
    with pytest.raises(ConfigError, match="one and two .*prompt formats"):
        run_judge(made, progress=False)
