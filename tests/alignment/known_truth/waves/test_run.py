"""Two waves from end to end: who comes, who writes, who is held out, what is run again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.known_truth.results_file import read_results
from ifllm_hf.alignment.known_truth.run import GridOutcome
from ifllm_hf.alignment.known_truth.waves import arrivals, wave_run
from ifllm_hf.alignment.known_truth.waves.config import TruthWaves, WaveArm, read_waves
from ifllm_hf.alignment.known_truth.waves.run import missing, run_waves
from ifllm_hf.alignment.pipeline import early_stopping
from ifllm_hf.alignment.pipeline import judge as pipeline_judge
from ifllm_hf.data.known_truth import TownQuestion, known_world
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.files import shipped_folder
from tests.helpers.alignment.pipeline_files import Trainer

RECIPE = shipped_folder("recipes") / "known-truth-waves.yaml"
EVEN = {"estimate": 0.0, "low": 0.0, "high": 0.0, "level": 0.95}


class World:
    """Stands in for what takes time: answers, training and judging."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trainer = Trainer(monkeypatch)
        self.wrote: list[tuple[int, Path | None]] = []
        self.rises: list[float | Exception] = []
        monkeypatch.setattr(arrivals, "pairs_of", self._pairs)
        monkeypatch.setattr(wave_run, "ask", self._ask)
        monkeypatch.setattr(early_stopping, "run_judge", self._judge)
        monkeypatch.setattr(pipeline_judge, "run_judge", lambda config: {})

    def _right(self, question: str) -> str:
        return known_world().right_answer(TownQuestion.parse(question))

    def _pairs(
        self, waves: Any, questions: Sequence[str], place: Path, seed: int, policy: Path | None
    ) -> list[tuple[str, str, str]]:
        self.wrote.append((len(questions), policy))
        both = [(self._right(q), "I hope this helps.") for q in questions]
        sides = [pair if k % 2 else pair[::-1] for k, pair in enumerate(both)]
        return [(q, a, b) for q, (a, b) in zip(questions, sides, strict=True)]

    def _ask(
        self, waves: Any, questions: Sequence[str], place: Path, seed: int, policy: Any = None
    ) -> list[list[str]]:
        return [[self._right(q) if policy else ""] for q in questions]

    def _judge(self, config: Any) -> Any:
        rise = self.rises.pop(0) if self.rises else 1.0
        if isinstance(rise, Exception):
            raise rise
        found = {"estimate": rise, "low": rise - 0.1, "high": rise + 0.1, "level": 0.95}
        said = {"score_rise": found, "win_rate": EVEN, "n": 20, "workers": 3}
        return {"candidates": {"new": said}}


def small(out: Path, **given: Any) -> TruthWaves:
    return replace(
        read_waves(RECIPE),
        arms=(WaveArm("clicks", "explicit", 0.95),),
        seeds=(0,),
        waves=2,
        conversations=11,  # of two waves: few enough to be read in this process
        share=0.8,
        results=None,
        output_dir=str(out),
        **given,
    )


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TruthWaves, World, Any]]:
    """Two waves that were run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        waves, world = small(tmp_path_factory.mktemp("waves")), World(monkeypatch)
        outcome = run_waves(waves)
        assert outcome.errors == {} and (outcome.ran, outcome.there) == (2, 0)
        yield waves, world, list(read_results(waves.results_file).values())


def pairs_of(training: Any) -> pl.DataFrame:
    return pl.read_parquet(training.pairs)


def test_the_policy_of_a_wave_writes_what_the_next_one_sees(two: Any) -> None:
    _, world, (first, second) = two
    trained = [training.folder for training in world.trainer.asked]
    assert [policy for _, policy in world.wrote] == [None, trained[0]]
    # It goes on from there, on other pairs.
    assert world.trainer.asked[1].settings["sft_adapter"] == str(trained[0])
    assert (first["wave"], second["wave"]) == (1, 2)
    assert first["shown"] == second["shown"]  # the same two answers everywhere here
    assert first["kept"] == 1 and second["kept"] == 2


def test_readers_and_questions_of_waves_are_others_and_nobody_held_out_trains(two: Any) -> None:
    waves, world, (first, second) = two
    pairs = [pairs_of(training) for training in world.trainer.asked]
    train = [p.filter(pl.col("fold") != 3) for p in pairs]
    readers = [set(p["user_id"]) for p in train]
    assert readers[0] and readers[1] and not readers[0] & readers[1]
    assert not set(train[0]["prompt"]) & set(train[1]["prompt"])
    held_out = set(first["readers"])
    assert held_out and held_out == set(second["readers"])
    assert not held_out & (readers[0] | readers[1])
    turns = arrivals.turns_of_waves(waves, 0)
    assert turns["prompt"].n_unique() == turns.height
    assert turns.group_by("user_id").agg(pl.col("wave").n_unique())["wave"].max() == 1
    # What was planned is what came: by each pair, who asked it in which wave.
    came = pl.concat(pairs).select("user_id", "prompt").unique()
    assert came.join(turns, ["user_id", "prompt"]).height == came.height > 20
    judged = {user for p in pairs for user in p.filter(pl.col("fold") == 3)["user_id"]}
    assert judged <= held_out


def test_a_line_says_what_was_learned_and_how_right_it_was(two: Any) -> None:
    waves, world, (first, second) = two
    assert first["base"] == waves.base and first["family"] == waves.family
    for line, training in zip((first, second), world.trainer.asked, strict=True):
        there = pairs_of(training).filter(pl.col("fold") != 3)
        assert line["labels"]["pairs"] == there.height
        assert line["labels"]["right"] > 0.7 * line["labels"]["decided"] > 0
        assert line["judged"]["said"] == "better" and line["stopped"] is False
        sums = line["readers"].values()
        assert all(base == 5.5 * n and after == 10 * n for n, base, after in sums)
        assert {"torch", "trl"} <= set(line["versions"]) and len(json.dumps(line)) < 4000


def test_only_what_is_missing_is_run(two: Any, tmp_path: Path) -> None:
    waves, world, lines = two
    before = len(world.trainer.asked), len(world.wrote)

    def again(settings: TruthWaves) -> GridOutcome:
        outcome = run_waves(settings)
        assert outcome.errors == {}
        return outcome

    assert (again(waves).ran, again(waves).there) == (0, 2)
    # As a fresh clone has it: the lines, and nothing of what they were made from.
    fresh = replace(waves, results=str(waves.results_file), output_dir=str(tmp_path / "none"))
    assert again(fresh).there == 2 and not (tmp_path / "none").exists()
    # A kill between a wave and its line: the line alone is missing.
    fewer = tmp_path / "fewer.jsonl"
    fewer.write_text(json.dumps(lines[0]) + "\n")
    assert again(replace(waves, results=str(fewer))).ran == 1
    assert list(read_results(fewer).values()) == lines
    assert (len(world.trainer.asked), len(world.wrote)) == before
    # No wave comes after a stop.
    assert missing(waves, waves.arms[0], 1, {}) == [1, 2]
    assert missing(waves, waves.arms[0], 0, {lines[0]["key"]: {"stopped": True}}) == []


def test_a_reader_who_comes_twice_is_refused(two: Any, tmp_path: Path) -> None:
    release = next(two[0].out.rglob("*-release"))
    with pytest.raises(OutputError, match="came in an earlier wave"):
        arrivals.join_releases([release, release], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_wave_is_the_same_again(two: Any, tmp_path: Path, world: World) -> None:
    first = two[2][0]
    waves = small(tmp_path)
    # A judge without a score: nothing is lost, and the same command goes on.
    world.rises = [1.0, ConfigError("no score: its score is nan")]
    outcome = run_waves(waves)
    assert outcome.ran == 1
    (line,) = read_results(waves.results_file).values()
    assert {**line, "seconds": 0} == {**first, "seconds": 0}
    assert outcome.errors["clicks seed0"].endswith("no score: its score is nan")
    world.rises = [-1.0]
    last = run_waves(waves)
    assert (last.ran, last.there, len(world.trainer.asked)) == (1, 1, 2)
    second = read_results(waves.results_file)[waves.key(waves.arms[0], 0, 2)]
    assert second["stopped"] and second["kept"] == 1 and second["judged"]["said"] == "fell"
    assert last.report is not None
    assert "| clicks | 0 | 2 | -1.00 [-1.10, -0.90] | 20 | 3 | 10.00 | 1 | 10.00 |" in (
        last.report.read_text()
    )


def test_a_wave_without_a_click_is_one_line(tmp_path: Path, world: World) -> None:
    waves = replace(small(tmp_path), share=1e-9, waves=1)
    outcome = run_waves(waves)
    assert "labels clicks: " in outcome.errors["clicks seed0"]
    assert world.trainer.asked == [] and outcome.report is None


def test_more_turns_than_questions_is_one_line(tmp_path: Path, world: World) -> None:
    outcome = run_waves(replace(small(tmp_path), conversations=800))
    assert "4301 questions; lower waves or conversations" in outcome.errors["clicks seed0"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"waves": 0}, "waves 0, 1 arms"),
        ({"arms": ()}, "0 arms"),
        ({"seeds": ()}, "0 seeds"),
        ({"min_new_pairs": 0}, "min_new_pairs is 0"),
        ({"share": 0.0}, "shares: 0.0"),
        ({"arms": (WaveArm("x", "oracle", 0.9),)}, "source is 'oracle'"),
        ({"arms": (WaveArm("x", "all", 0.4),)}, "strengths: 0.4"),
        ({"arms": (WaveArm("a/b", "all", 0.9),)}, "letters, digits"),
        ({"arms": (WaveArm("x", "all", 0.9), WaveArm("x", "text", 0.9))}, "'x' names 2 of them"),
        ({"arms": (WaveArm("x", "all", 0.9, {"seed": 3}),)}, "seed is decided by the waves"),
    ],
)
def test_what_no_waves_could_be_is_one_line(given: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(small(tmp_path), **given)
