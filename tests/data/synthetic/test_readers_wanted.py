"""What is wanted of made-up readers is what the release holds and the truth says."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.data.known_truth import PairsInTurn, TrueTaste, WrittenTexts, true_score
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import (
    Readers,
    Shown,
    Truth,
    count_turns,
    read_truth,
    readers_of_turns,
    write_synthetic_release,
)
from ifllm_hf.errors import ConfigError

OF_THE_WORLD = Readers(texts=WrittenTexts(), taste=TrueTaste(), pairwise_only=True)


def write(folder: Path, readers: Readers | None, conversations: int = 30, **more: Any) -> Truth:
    settings = {"defects": False, "ticks_per_turn": 100, **more}
    return write_synthetic_release(folder, conversations=conversations, readers=readers, **settings)


def log(truth: Truth) -> list[dict[str, str]]:
    with (truth.folder.parent / "dataset" / "query_logs_table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def changed(readers: Readers, **new: Any) -> Readers:
    return Readers(**{**vars(readers), **new})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return write(tmp_path_factory.mktemp("world") / "r", OF_THE_WORLD, 60)


def test_texts_come_from_outside_turn_by_turn(world: Truth) -> None:
    rows = log(world)
    assert len(rows) == world.turns.height == count_turns(60, defects=False)
    assert world.turns["user_id"].to_list() == readers_of_turns(60, defects=False)
    for turn, row in enumerate(rows):
        question, answers = WrittenTexts()(turn, 2)
        said = row["user_query"], row["llm_response_1"], row["llm_response_2"]
        assert said == (question, *answers)
        assert row["adjustment"] == "0", "nobody asked for bullet points"
    assert set(world.turns["kind"]) == {"pairwise"}


def test_likings_follow_the_taste(world: Truth) -> None:
    expected = [
        TrueTaste()(
            Shown(row["user_query"], row["llm_response_1"]),
            Shown(row["user_query"], row["llm_response_2"]),
        )
        for row in log(world)
    ]
    assert world.turns["liking_b"].to_list() == pytest.approx(expected)
    gap = (world.turns["liked"] == "b").cast(pl.Float64) - world.turns["liking_b"]
    assert abs(gap.mean()) < 3 * 0.5 / np.sqrt(world.turns.height)
    sure = world.turns.filter((pl.col("liking_b") - 0.5).abs() > 0.45)
    right = (sure["liked"] == "b") == (sure["liking_b"] > 0.5)
    assert sure.height > 50 and right.mean() > 0.95


def test_without_settings_nothing_changes(tmp_path: Path) -> None:
    for name, readers in (("one", None), ("two", Readers())):
        write(tmp_path / name, readers, 6, defects=True)
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")
         if p.is_file()}
        for n in ("one", "two")
    )  # fmt: skip
    assert one == two and len(one) > 20


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_a_share_of_the_turns_has_a_click(share: float, world: Truth, tmp_path: Path) -> None:
    some = write(tmp_path / "r", changed(OF_THE_WORLD, click_share=share), 60)
    clicked = some.turns["click"].is_not_null()
    n = some.turns.height
    assert abs(clicked.mean() - share) <= 4 * np.sqrt(share * (1 - share) / n)
    # All else is as it was: shares can be compared turn by turn.
    same = ["query_id", "liked", "liking_b", "behavior_points_to", "longer"]
    assert some.turns.select(same).equals(world.turns.select(same))
    both = some.turns.filter(clicked)["click"]
    assert both.equals(world.turns.filter(clicked)["click"])
    for row, click in zip(log(some), some.turns["click"], strict=True):
        said = {"a": "1.0", "b": "2.0", None: ""}[click]
        assert row["preference"] == said and (row["likert_1"] == "") == (click is None)


def test_more_clicks_hold_the_clicks_of_fewer(tmp_path: Path) -> None:
    few, many = (
        write(tmp_path / str(share), Readers(click_share=share), 20).turns for share in (0.2, 0.6)
    )
    clicked = few["click"].is_not_null()
    assert 0 < clicked.sum() < many["click"].is_not_null().sum()
    assert few.filter(clicked)["click"].equals(many.filter(clicked)["click"])


@pytest.mark.parametrize(("strength", "error"), [(0.5, 0.0), (0.75, 0.3), (1.0, 1.0)])
def test_behaviour_and_clicks_tell_as_much_as_wanted(
    strength: float, error: float, world: Truth, tmp_path: Path
) -> None:
    told = changed(OF_THE_WORLD, behavior_strength=strength, click_error=error)
    turns = write(tmp_path / "r", told, 60).turns
    n = turns.height
    for column, share in (("behavior_points_to", strength), ("click", 1 - error)):
        agrees = (turns[column] == turns["liked"]).mean()
        assert abs(agrees - share) <= 4 * np.sqrt(share * (1 - share) / n)
    assert turns["liked"].equals(world.turns["liked"])


def test_the_truth_says_what_was_wanted(world: Truth) -> None:
    said = read_truth(world.folder.parent).settings
    assert said == world.settings == json.loads(json.dumps(said))
    assert said["texts"] == "WrittenTexts(split='train', seed=0, world=World(seed=0))"
    assert said["taste"] == "TrueTaste(slope=1.0, world=World(seed=0))"
    assert (said["behavior_strength"], said["click_share"], said["click_error"]) == (0.9, 1, 0.05)
    assert said["pairwise_only"] is True
    told = Readers(texts=PairsInTurn([]), taste=_likes_the_first).described()
    assert told["taste"] == f"{__name__}._likes_the_first"
    assert told["texts"] == "ifllm_hf.data.known_truth.readers_of_worlds.PairsInTurn"


def _likes_the_first(a: Shown, b: Shown) -> float:
    return 0.0


def test_pointwise_an_answer_is_compared_with_the_one_before(tmp_path: Path) -> None:
    seen: list[tuple[Shown, Shown]] = []

    def taste(a: Shown, b: Shown) -> float:
        seen.append((a, b))
        return 1.0

    n = count_turns(8, defects=False)
    texts = PairsInTurn([(f"Which {k}?", f"a {k}.", f"b {k}.") for k in range(n)])
    turns = write(tmp_path / "r", Readers(texts=texts, taste=taste), 8).turns
    single = turns.filter(pl.col("kind") == "pointwise")
    first = single["turn"] == 1
    assert single.filter(first)["liked"].is_null().all()
    assert set(single.filter(~first)["liked"]) == {"b"} and single["turn"].max() > 1
    assert len(seen) == n - first.sum(), "the first is compared with nothing"
    for a, b in seen:
        number = int(a.question.split()[1].rstrip("?"))
        paired = Shown(a.question, f"b {number}.")
        before = Shown(f"Which {number - 1}?", f"a {number - 1}.")
        assert a.answer == f"a {number}." and b in (paired, before)


def test_answers_from_outside_stay_as_they_are_among_all_defects(tmp_path: Path) -> None:
    odd = ["", " \n", 'He said "a, b"\r\nand left.', "1. eins\n\n\n2. zwei 😀", "\u2028x\x85y"]
    n = count_turns(24, seed=2)
    pairs = [(f"Why {k}?", odd[k % 5], odd[(k + 1) % 5]) for k in range(n)]
    texts = PairsInTurn(pairs)
    truth = write(tmp_path / "r", Readers(texts=texts), 24, defects=True, seed=2)
    for turn, row in enumerate(log(truth)):
        assert row["user_query"] == pairs[turn][0]
        assert row["llm_response_1"] == pairs[turn][1]
        if truth.turns["kind"][turn] == "pairwise":
            assert row["llm_response_2"] == pairs[turn][2]
    kinds = {defect.kind for defect in truth.defects}
    assert "requoted" in kinds
    assert not kinds & {"crlf_in_answer", "blank_lines_in_answer", "error_answer"}
    with pytest.raises(ConfigError, match=f"{n - 1} pairs"):
        short = Readers(texts=PairsInTurn(pairs[:-1]))
        write(tmp_path / "short", short, 24, defects=True, seed=2)
    assert not (tmp_path / "short").exists()


def test_what_is_written_is_prepared(tmp_path: Path) -> None:
    """Nothing pointwise, few clicks, answers of one sentence or none: all turns come through."""
    sparse = changed(OF_THE_WORLD, click_share=0.3)
    n = count_turns(12, defects=False)
    blank = PairsInTurn([(f"Why {k}?", "" if k % 3 else "So.", "No.") for k in range(n)])
    for name, readers in (("sparse", sparse), ("blank", Readers(texts=blank, pairwise_only=True))):
        truth = write(tmp_path / name, readers, 12)
        report = prepare(tmp_path / name, tmp_path / f"{name}-ifllm", progress=False)
        assert report.folder.rows["pairwise"] == n
        clicked = int(truth.turns["click"].is_not_null().sum())
        blanks = n - len(range(0, n, 3)) if name == "blank" else 0
        assert report.folder.rows["preferences"] == clicked - blanks > 0


@pytest.mark.parametrize(
    "wrong",
    [{"behavior_strength": 0.49}, {"behavior_strength": 1.01}, {"click_share": -0.1},
     {"click_share": 1.5}, {"click_error": 2}, {"text_strength": -1},
     {"behavior_strength": float("nan")}, {"click_share": float("nan")}],
)  # fmt: skip
def test_what_no_reader_could_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))) as caught:
        Readers(**wrong)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("readers", "says"),
    [
        (Readers(texts=lambda turn, sides: ("Why?", ["one"] * (sides + 1))), "answers"),
        (Readers(texts=lambda turn, sides: (" ", ["one"] * sides)), "blank question"),
        (Readers(texts=lambda turn, sides: ("Why?", ["\ud83d"] * sides)), "half a character"),
        (Readers(taste=lambda a, b: 1.5), "taste gave 1.5"),
        (Readers(taste=lambda a, b: float("nan")), "taste gave nan"),
    ],
)
def test_functions_that_give_nonsense_are_named(
    readers: Readers, says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=says):
        write(tmp_path / "r", readers, 2)
    assert not (tmp_path / "r").exists()


texts = st.text(max_size=40)


@given(st.integers(0, 4000), texts, texts, st.floats(0, 1e6))
def test_a_true_taste_is_a_probability_and_fair(turn: int, a: str, b: str, slope: float) -> None:
    question, written = WrittenTexts()(turn, 2)
    for one, other in ((a, b), (written[0], written[1]), (written[0], b)):
        shown = Shown(question, one), Shown(question, other)
        share = TrueTaste(slope)(*shown)
        assert 0 <= share <= 1
        assert share + TrueTaste(slope)(*reversed(shown)) == pytest.approx(1)
        gap = true_score(question, other).score - true_score(question, one).score
        assert (share > 0.5) <= (gap > 0) and (share < 0.5) <= (gap < 0)


def test_infinity_knows_the_truth() -> None:
    question, _ = WrittenTexts()(0, 1)
    shown = Shown(question, ""), Shown(question, "Blah.")
    assert TrueTaste(float("inf"))(*shown) == 0
    assert TrueTaste(float("inf"))(*reversed(shown)) == 1
    assert TrueTaste(float("inf"))(shown[0], shown[0]) == 0.5
