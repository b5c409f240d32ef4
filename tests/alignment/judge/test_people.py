from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.people import PeopleJudge, read_choice
from ifllm_hf.alignment.judge.run import make_judge, run_judge
from ifllm_hf.alignment.judge.verdict import CANDIDATE, FIRST, Comparison
from tests.helpers.alignment.judging import config


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


def test_people_are_asked_beside_the_report(
    tmp_path: Path,
    questions: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It goes to stdout, which may be a file."""
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n"))
    asked = Comparison("p0", "r0", "Why?", "Because.", "So.")
    (judged,) = make_judge(config(tmp_path, questions)).judge([(asked, CANDIDATE)])
    assert judged.verdict is not None and judged.verdict.winner == FIRST
    said = capsys.readouterr()
    assert (said.out, said.err[-2:]) == ("", "> ")


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
