"""Whole judging runs on ready answers, by every kind of judge."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.judge.config import JudgeConfig, PromptSelection
from ifllm_hf.alignment.judge.people import PeopleJudge, read_choice
from ifllm_hf.alignment.judge.pooled import pool, pooled_markdown, read_items
from ifllm_hf.alignment.judge.prompts import REPEATED, TRAINED_ON, held_out_prompts, select_prompts
from ifllm_hf.alignment.judge.reward import RewardJudge
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD, PromptFormat
from ifllm_hf.errors import ConfigError, DataError, OutputError, SourceError
from ifllm_hf.training.append_file import AppendFile
from ifllm_hf.training.settings_file import build, describe, read_settings

LOOPBACK = runpy.run_path(str(Path(__file__).with_name("loopback_judge.py")))
Server, always_first = LOOPBACK["LoopbackJudge"], LOOPBACK["always_first"]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sesame")


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Thirty questions of six readers in folds 0 and 1."""
    path = tmp_path / "questions.jsonl"
    rows = [
        {"prompt": f"Why {i}?", "user_id": f"r{i % 6}", "fold": i % 2, "bullet_suffix": i % 3 == 0}
        for i in range(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(path: Path, say: Callable[[int], str]) -> str:
    rows = [{"question": f"Why {i}?", "answer": say(i)} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def config(tmp_path: Path, questions: Path, **values: Any) -> JudgeConfig:
    before = answers(tmp_path / "before.jsonl", lambda i: "word " * (3 + i % 4))
    small = answers(tmp_path / "small.jsonl", lambda i: "word " * (4 + i % 4))
    large = answers(tmp_path / "large.jsonl", lambda i: "word " * (6 + i % 4))
    made = {
        "baseline": {"name": "sft", "answers": before},
        "candidates": [{"name": "explicit", "answers": small}, {"name": "both", "answers": large}],
        "prompts": {"dataset": str(questions), "fold": 0},
        "judge": {"kind": "people"},
        "draws": 40,
        "output_dir": str(tmp_path / "out"),
        **values,
    }
    return build(JudgeConfig, made, "test")


def endpoint(server: Any, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "endpoint", "model": "judge-1", "base_url": server.url, "api_key_env": "JUDGE_KEY",
        "timeout_s": 5.0, "concurrency": 2, **settings,
    }  # fmt: skip


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


def test_runs_of_several_models_are_pooled(tmp_path: Path, questions: Path) -> None:
    reports, folders = {}, {}
    with Server() as server:
        for name, more in (("gpt2-xl", 1), ("qwen3", 3)):
            made = config(
                tmp_path, questions, judge=endpoint(server), output_dir=str(tmp_path / name)
            )
            answers(tmp_path / "small.jsonl", lambda i, k=more: "word " * (3 + i % 4 + k))  # type: ignore[misc]
            reports[name] = run_judge(made, progress=False)
            folders[name] = tmp_path / name
        other = {**endpoint(server), "model": "judge-2"}
        run_judge(config(tmp_path, questions, judge=other), progress=False)
    found = pool(folders, "explicit", draws=40)
    each = [
        r["candidates"]["explicit"]["relative_improvement"]["estimate"] for r in reports.values()
    ]
    pooled = found["candidates"]["explicit"]
    assert pooled["relative_improvement"]["estimate"] == pytest.approx(sum(each) / 2)
    assert (pooled["n"], pooled["workers"]) == (30, 3)
    text = pooled_markdown(found)
    assert "over 2 language models" in text and "both / explicit: 1.50" in text
    assert set(read_items(folders["qwen3"])) == {"explicit", "both"}
    with pytest.raises(DataError, match="2 judges"):
        pool({**folders, "third": tmp_path / "out"})
    with pytest.raises(DataError, match="expected the output of a judging run"):
        read_items(tmp_path)


# --- people --------------------------------------------------------------------------------------


class Person:
    """Types what `choose` says of what is on the screen."""

    def __init__(self, choose: Callable[[str, str], str], stop_after: int = 10**6) -> None:
        self.choose, self.left, self.screens = choose, stop_after, list[str]()

    def show(self, text: str) -> None:
        self.screens.append(text)

    def ask(self, prompt: str) -> str:
        if not self.left:
            raise EOFError
        self.left -= 1
        one, two = self.screens[-1].split("--- ANSWER 1 ---\n")[1].split("\n\n--- ANSWER 2 ---\n")
        return self.choose(one, two.split("\n\n")[0])


def judge_of(made: JudgeConfig, person: Person) -> PeopleJudge:
    return PeopleJudge(made.judge, ask=person.ask, show=person.show)


def test_people_judge_blind_and_go_on_where_they_stopped(tmp_path: Path, questions: Path) -> None:
    made = config(tmp_path, questions)
    longer = lambda one, two: "1" if len(one) > len(two) else "2"  # noqa: E731
    first = Person(longer, stop_after=10)
    run_judge(made, judge=judge_of(made, first), progress=False)
    shown = "\n".join(first.screens)
    assert not any(name in shown for name in ("sft", "explicit", "both", "baseline", "candidate"))
    rest = Person(longer)
    report = run_judge(made, judge=judge_of(made, rest), progress=False)
    assert len(rest.screens) == 20
    got = report["candidates"]["both"]
    assert got["win_rate"]["estimate"] == 1.0 and got["n"] == 15
    assert got["candidate_score"] is None and got["relative_improvement"] is None
    assert 0.2 < got["position"]["first_wins"]["estimate"] < 0.8
    assert run_judge(made, judge=judge_of(made, Person(longer, 0)), progress=False) == report


def test_people_may_score_skip_and_mistype(tmp_path: Path, questions: Path) -> None:
    said = iter(["seven", "8 8", "s", *["7 4"] * 40])
    person = Person(lambda one, two: next(said))
    made = config(tmp_path, questions)
    # Mistyping shows help, after which the last screen no longer holds the answers.
    person.ask = lambda prompt: next(said)  # type: ignore[method-assign]
    report = run_judge(made, judge=judge_of(made, person), progress=False)
    got = report["candidates"]["explicit"]
    assert (got["n"], got["ties"]) == (14, 1)
    assert report["judge"]["failed"] == {"skipped": 1}
    assert got["candidate_score"] is not None
    assert any("'seven' is none of these" in screen for screen in person.screens)


@pytest.mark.parametrize("said", ["", "3", "11 2", "0 5", "7 5 3", "first"])
def test_what_is_no_choice(said: str) -> None:
    assert read_choice(said) is None


# --- a reward model ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reward_model(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with one output, next to the tokenizer of the tiny language model."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = tmp_path_factory.mktemp("reward") / "model"
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(tiny(), num_labels=1), dtype=torch.float32
    )
    made.save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny()).save_pretrained(place)
    return place


def test_a_reward_model_judges_each_answer_by_itself(
    tmp_path: Path, questions: Path, reward_model: Path
) -> None:
    settings = {"kind": "reward", "model": str(reward_model), "batch_size": 4}
    made = config(tmp_path, questions, judge=settings)
    report = run_judge(made, progress=False)
    got = report["candidates"]["both"]
    assert got["n"] == 15 and got["candidate_score"] is not None
    assert got["relative_improvement"] is None and got["position"] is None
    assert report["ratios"] == []
    assert "Rewards have no zero" in (tmp_path / "out" / "report.md").read_text()
    judge = RewardJudge(made.judge)
    pairs = [("Why?", "word"), ("Why 3?", "word " * 30), ("W", "x")]
    together = judge.rewards(pairs)
    assert together == pytest.approx([judge.rewards([pair])[0] for pair in pairs], abs=1e-5)
    said = [(f"Why {i}?", ("word " * (6 + i % 4)).strip()) for i in range(0, 30, 2)]
    expected = sum(judge.rewards([pair])[0] for pair in said) / 15
    assert got["candidate_score"]["estimate"] == pytest.approx(expected, abs=1e-4)


def test_our_own_reward_model_judges_text_alone(tmp_path: Path) -> None:
    tiny = runpy.run_path(str(Path(__file__).parents[1] / "reward" / "tiny_reward_model.py"))
    model, processor = tiny["make"]()
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    settings = build(JudgeConfig, _smallest(kind="reward", model=str(tmp_path / "ours")), "t").judge
    question, (one, two) = tiny["QUESTION"], tiny["ANSWERS"]
    got = RewardJudge(settings).rewards([(question, one), (question, two)])
    read = processor(question, [one, two], return_tensors="pt")
    assert got == pytest.approx(model(**read).logits[:, 0].tolist(), abs=1e-5)
    assert got[0] != got[1]


def test_a_classifier_is_no_reward_model(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = tmp_path / "three"
    AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(tiny(), num_labels=3)
    ).save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny()).save_pretrained(place)
    settings = build(JudgeConfig, _smallest(kind="reward", model=str(place)), "t").judge
    with pytest.raises(ConfigError, match="expected one number each"):
        RewardJudge(settings).rewards([("Why?", "So.")])


# --- questions -----------------------------------------------------------------------------------


def rows() -> list[dict[str, Any]]:
    return [
        {"prompt": "Mine?", "user_id": "a", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "mine? ", "user_id": "b", "fold": 1, "bullet_suffix": False},
        {"prompt": "Only a?", "user_id": "a", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "Only a?", "user_id": "c", "fold": JUDGE_FOLD, "bullet_suffix": True},
        {"prompt": "Only c?", "user_id": "c", "fold": JUDGE_FOLD, "bullet_suffix": False},
        {"prompt": "Only b?", "user_id": "b", "fold": 1, "bullet_suffix": False},
    ]


def test_questions_are_of_readers_that_training_never_saw() -> None:
    kept, ledger = select_prompts(rows(), PromptSelection(), PromptFormat())
    assert [(p.question, p.user_id) for p in kept] == [("Only a?", "a"), ("Only c?", "c")]
    assert ledger.dropped[TRAINED_ON] == 1 and ledger.dropped[REPEATED] == 1
    assert ledger.seen == 6
    assert kept[0].prompt == "Question: Only a?\n\nAnswer:"


def test_the_suffix_and_the_past_are_shown_to_model_and_judge() -> None:
    past = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    row = {**rows()[2], "history_chosen": past}
    style = PromptFormat(suffix=True, history="chosen")
    (made,), _ = select_prompts([row], PromptSelection(), style)
    assert made.prompt == (
        "Question: Hi\n\nAnswer: Yes?\n\nQuestion: Only a? respond using bullet points\n\nAnswer:"
    )
    assert made.question == (
        "user: Hi\n\nassistant: Yes?\n\nuser: Only a? respond using bullet points"
    )


def test_fewer_questions_are_the_same_ones_when_data_grow() -> None:
    many = [{"prompt": f"Why {i}?", "user_id": f"r{i}", "fold": JUDGE_FOLD} for i in range(60)]
    few = PromptSelection(max_prompts=10)
    small = {p.prompt_id for p in select_prompts(many[:40], few, PromptFormat())[0]}
    large = {p.prompt_id for p in select_prompts(many, few, PromptFormat())[0]}
    assert len(small) == len(large) == 10 and len(small & large) >= 5
    other = select_prompts(many, PromptSelection(max_prompts=10, seed=1), PromptFormat())[0]
    assert {p.prompt_id for p in other} != large


def test_a_question_without_a_reader_is_a_group_of_its_own() -> None:
    kept, _ = select_prompts(
        [{"prompt": "A?"}, {"prompt": "B?"}], PromptSelection(fold=None), PromptFormat()
    )
    assert len({p.user_id for p in kept}) == 2


def test_ifllm_gives_the_questions_of_both_kinds(prepared_small: Path) -> None:
    import polars as pl

    turns = pl.concat(
        [
            pl.read_parquet(prepared_small / kind / "*.parquet", columns=["prompt", "fold"])
            for kind in ("pairwise", "pointwise")
        ]
    )
    fold = turns["fold"][0]
    kept, ledger = held_out_prompts(
        PromptSelection(dataset=str(prepared_small), fold=fold), PromptFormat()
    )
    assert ledger.seen == turns.height
    assert {p.question for p in kept} <= set(turns.filter(fold=fold)["prompt"].str.strip_chars())


def test_what_is_wrong_with_the_questions_is_one_message(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no question has fold 7"):
        held_out_prompts(PromptSelection(dataset=str(questions), fold=7), PromptFormat())
    with pytest.raises(ConfigError, match="no column 'history_chosen'"):
        held_out_prompts(PromptSelection(dataset=str(questions)), PromptFormat(history="chosen"))
    with pytest.raises(DataError, match="0 of 2 questions"):
        select_prompts(rows()[:2], PromptSelection(), PromptFormat())


# --- settings and files --------------------------------------------------------------------------


def _smallest(**judge: Any) -> dict[str, Any]:
    return {
        "baseline": {"name": "a", "model": "m"}, "candidates": [{"name": "b", "adapter": "x"}],
        "judge": {"kind": "people", **judge},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"judges": 1}, "no setting 'judges'"),
        ({"judge": {}}, "judge: kind is missing"),
        ({"judge": {"kind": "oracle"}}, "expected one of endpoint"),
        ({"judge": {"kind": "endpoint"}}, "judge.model is missing"),
        ({"judge": {"kind": "people", "concurrency": "8"}}, "concurrency is '8'; expected int"),
        ({"draws": 2.5}, "draws is 2.5"),
        ({"candidates": []}, "candidates is empty"),
        ({"candidates": [{"name": "a", "model": "m"}]}, "two models are named 'a'"),
        ({"candidates": [{"name": "x/y", "model": "m"}]}, "a name that a file can have"),
        ({"candidates": [{"name": "b", "model": "m", "answers": "f"}]}, "name one of them"),
        ({"candidates": [{"nam": "b"}]}, r"candidates\[0\]: there is no setting 'nam'"),
        ({"ratio_to": "z"}, "ratio_to is 'z'"),
        ({"baseline": {"name": "a"}}, "neither model nor answers"),
        ({"generation": {"top_p": 0.0}}, "top_p in"),
    ],
)
def test_settings_that_cannot_work_are_named(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build(JudgeConfig, {**_smallest(), **change}, "x.yaml")


def test_yaml_first_and_the_command_line_wins(tmp_path: Path) -> None:
    import yaml

    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(_smallest()))
    made = read_settings(
        JudgeConfig, path, ["--judge.model", "m2", "--generation.top_p", "1", "--draws", "50"]
    )
    assert (made.judge.model, made.generation.top_p, made.draws) == ("m2", 1.0, 50)
    assert made.candidates[0].adapter == "x"
    for wrong, says in (
        (["--draws"], "has no value"), (["draws", "5"], "write --NAME VALUE"),
        (["--output_dir.x", "5"], "output_dir"), (["--nope", "1"], "no setting 'nope'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=says):
            read_settings(JudgeConfig, path, wrong)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(JudgeConfig, tmp_path / "none.yaml")
    path.write_text("a: [")
    with pytest.raises(ConfigError, match="not YAML"):
        read_settings(JudgeConfig, path)


def test_two_runs_do_not_write_into_one_file(tmp_path: Path) -> None:
    with (
        AppendFile(tmp_path / "x.jsonl") as file,
        pytest.raises(OutputError, match="in use by another run"),
        AppendFile(tmp_path / "x.jsonl"),
    ):
        pass
    with AppendFile(tmp_path / "x.jsonl") as file:
        file.add({"key": "a", "n": 1})
        file.add({"key": "a", "n": 2})
    with AppendFile(tmp_path / "x.jsonl") as file:
        assert file.records == {"a": {"key": "a", "n": 2}}
    (tmp_path / "x.jsonl").write_text('{"n": 1}\n')
    with pytest.raises(DataError, match="line 1"), AppendFile(tmp_path / "x.jsonl"):
        pass


def test_a_full_disk_stops_the_run_and_loses_nothing(tmp_path: Path) -> None:
    with AppendFile(tmp_path / "x.jsonl") as file:
        file.add({"key": "a"})
        file._file.close()
        file._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
        with pytest.raises(OutputError, match="free some space and run the same command again"):
            file.add({"key": "b"})
    with AppendFile(tmp_path / "x.jsonl") as file:
        assert list(file.records) == ["a"]


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
    with pytest.raises(ConfigError, match=f"one was trained with eval_fold {eval_fold}, hence on"):
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


def test_a_model_that_is_not_there_is_known_before_any_answer(
    tmp_path: Path, questions: Path
) -> None:
    made = config(
        tmp_path, questions, baseline={"name": "b", "model": str(tmp_path)},
        candidates=[{"name": "one", "adapter": str(tmp_path / "nowhere")}],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="nowhere: no such folder"):
        run_judge(made, progress=False)
    assert not (tmp_path / "out").exists()


def test_help_names_every_setting_and_its_parts() -> None:
    said = describe(JudgeConfig)
    for line in (
        "output_dir: Folder for answers, verdicts and the report.", "judge.tries: Requests for",
        "prompts.fold: Only questions of readers", "candidates[].adapter: LoRA adapter on it",
    ):  # fmt: skip
        assert f"\n{line}" in said
    assert max(map(len, said.splitlines())) <= 96


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
    with pytest.raises(ConfigError, match="one and two were trained on different prompt formats"):
        run_judge(made, progress=False)
