from __future__ import annotations

import numpy as np
import pytest

from ifllm_hf.alignment.judge import statistics as st
from ifllm_hf.alignment.judge.verdict import Comparison, Verdict


def comparison(i: int, user: str = "r0", base: str = "x" * 10, after: str = "x" * 10) -> Comparison:
    return Comparison(f"p{i}", user, f"Why {i}?", base, after)


def items(**columns: object) -> st.Items:
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]
    filled: dict[str, object] = {
        "prompt_id": [f"p{i}" for i in range(n)],
        "user_id": [f"r{i % 5}" for i in range(n)],
        "win": [0.5] * n,
        "baseline": [np.nan] * n,
        "candidate": [np.nan] * n,
        "baseline_chars": [100.0] * n,
        "candidate_chars": [100.0] * n,
    }
    return st.Items(**{k: np.array(v) for k, v in {**filled, **columns}.items()})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "winner", "win"),
    [
        ("baseline", "first", 0.0), ("baseline", "second", 1.0), ("baseline", "tie", 0.5),
        ("candidate", "first", 1.0), ("candidate", "second", 0.0), ("candidate", "tie", 0.5),
    ],
)  # fmt: skip
def test_a_win_is_the_candidates_wherever_it_stands(first: str, winner: str, win: float) -> None:
    verdict = Verdict("p", first, winner, (7.0, 4.0))
    assert verdict.win == win
    stands_first = first == "candidate"
    assert verdict.score_of("candidate") == (7.0 if stands_first else 4.0)
    assert verdict.score_of("baseline") == (4.0 if stands_first else 7.0)


def test_orders_are_averaged_and_half_judged_questions_left_out() -> None:
    asked = [comparison(0), comparison(1, after="xy"), comparison(2)]
    verdicts = [
        Verdict("p0", "baseline", "second", (4.0, 8.0)),
        Verdict("p0", "candidate", "tie", (6.0, 6.0)),
        Verdict("p1", "baseline", "first", (9.0, 2.0)),
        Verdict("p1", "candidate", "second", (1.0, 8.0)),
        Verdict("p2", "baseline", "first", (9.0, 2.0)),
    ]
    got = st.average_orders(asked, verdicts, 2)
    assert got.prompt_id.tolist() == ["p0", "p1"]
    assert got.win.tolist() == [0.75, 0.0]
    assert got.candidate.tolist() == [7.0, 1.5]
    assert got.baseline.tolist() == [5.0, 8.5]
    assert got.candidate_chars.tolist() == [10.0, 2.0]


def test_relative_improvement_by_hand() -> None:
    got = st.relative_improvement(
        items(baseline=[4.0, 6.0], candidate=[6.0, 6.0], user_id=["a", "b"])
    )
    assert got.estimate == pytest.approx(0.2)
    # Two readers: both drawn alike, or one of them twice.
    assert (got.low, got.high) == pytest.approx((0.0, 0.5))


def test_the_interval_draws_workers_and_not_questions() -> None:
    """Twenty questions of a reader are one piece of evidence."""
    many = items(win=[1.0] * 20 + [0.0] * 20, user_id=["a"] * 20 + ["b"] * 20)
    got = st.mean_over_workers(many.win, many.user_id)
    assert (got.estimate, got.low, got.high, got.groups) == (0.5, 0.0, 1.0, 2)


def test_one_worker_has_no_interval() -> None:
    got = st.mean_over_workers(np.ones(4), np.array(["a"] * 4))
    assert got.estimate == 1.0 and np.isnan(got.low) and np.isnan(got.high)


def test_ratio_of_improvements_by_hand() -> None:
    n = 40
    rng = np.random.default_rng(0)
    base = np.full(n, 5.0)
    small = items(baseline=base, candidate=base * 1.05 + rng.normal(0, 0.02, n))
    large = items(baseline=base, candidate=base * 1.15 + rng.normal(0, 0.02, n))
    got = st.ratio_of_improvements(large, small)
    assert got.undefined is None and got.value is not None
    exact = (large.candidate.mean() / 5 - 1) / (small.candidate.mean() / 5 - 1)
    assert got.value.estimate == pytest.approx(exact)
    assert got.value.low < exact < got.value.high


@pytest.mark.parametrize("users", [["a", "b"] * 10, ["a"] * 20])
def test_a_ratio_to_nothing_is_undefined(users: list[str]) -> None:
    """The interval of the denominator covers 0, or does not exist."""
    base = np.full(20, 5.0)
    wobble = items(baseline=base, candidate=base + np.tile([1.0, -0.9], 10), user_id=users)
    sure = items(baseline=base, candidate=base + 1.0)
    got = st.ratio_of_improvements(sure, wobble)
    assert got.value is None
    assert got.undefined is not None and "covers 0" in got.undefined


def test_a_ratio_to_a_harm_is_negative() -> None:
    base = np.full(20, 5.0)
    better, worse = (
        items(baseline=base, candidate=base + 1),
        items(baseline=base, candidate=base - 1),
    )
    got = st.ratio_of_improvements(better, worse).value
    assert got is not None and got.estimate == pytest.approx(-1.0)


def test_ratio_draws_both_sides_together() -> None:
    """A candidate divided by itself is 1 in every draw."""
    rng = np.random.default_rng(1)
    same = items(baseline=np.full(30, 5.0), candidate=rng.uniform(5.5, 8, 30))
    got = st.ratio_of_improvements(same, same).value
    assert got is not None
    assert (got.estimate, got.low, got.high) == pytest.approx((1.0, 1.0, 1.0))


def test_improvements_of_several_models_are_averaged_and_drawn_by_reader() -> None:
    """+20 % and +60 % make +40 %; a reader is drawn with the questions to both models."""
    one = items(baseline=[5.0] * 4, candidate=[6.0] * 4, user_id=["a", "a", "b", "b"])
    two = items(baseline=[5.0] * 2, candidate=[7.0, 9.0], user_id=["a", "b"])
    got = st.relative_improvement([one, two])
    assert got.estimate == pytest.approx((0.2 + 0.6) / 2) and got.groups == 2
    assert (got.low, got.high) == pytest.approx(((0.2 + 0.4) / 2, (0.2 + 0.8) / 2))
    half = [items(baseline=[5.0] * 4, candidate=[5.5] * 4)] * 2
    ratio = st.ratio_of_improvements([one, two], half).value
    assert ratio is not None and ratio.estimate == pytest.approx(4.0)
    assert st.relative_improvement(one) == st.relative_improvement([one])


def test_length_control_takes_length_off_and_leaves_quality() -> None:
    """Length alone decides: 50 % at equal length. Quality alone decides: what it was."""
    rng = np.random.default_rng(0)
    n = 4000
    chars = rng.uniform(200, 2000, n)
    d = rng.normal(0.5, 0.5, n)
    user = np.array([f"r{i % 40}" for i in range(n)])
    texts = {"user_id": user, "baseline_chars": chars, "candidate_chars": chars * np.exp(d)}
    by_length = (rng.random(n) < 1 / (1 + np.exp(-3 * d))).astype(float)
    got = st.length_controlled_win_rate(items(win=by_length, **texts), draws=60)
    assert by_length.mean() > 0.73
    assert got.low < 0.5 < got.high and abs(got.estimate - 0.5) < 0.03
    by_quality = (rng.random(n) < 0.7).astype(float)
    got = st.length_controlled_win_rate(
        items(
            win=by_quality, user_id=user, baseline_chars=chars, candidate_chars=chars * np.exp(d)
        ),
        draws=60,
    )
    assert abs(got.estimate - 0.7) < 0.04


def test_length_control_with_equal_lengths_is_the_win_rate() -> None:
    got = st.length_controlled_win_rate(items(win=[1, 1, 1, 0, 0.5, 0.5, 1, 0]), draws=20)
    assert got.estimate == pytest.approx(5 / 8, abs=1e-3)


def test_length_control_survives_separation() -> None:
    """Every longer answer wins, and everything wins: no overflow, no warning."""
    d = np.linspace(-1, 1, 20)
    split = items(win=(d > 0).astype(float), candidate_chars=100 * np.exp(d))
    assert abs(st.length_controlled_win_rate(split, draws=20).estimate - 0.5) < 0.02
    assert st.length_controlled_win_rate(items(win=np.ones(20)), draws=20).estimate > 0.99


def test_thirds_are_by_the_baselines_length() -> None:
    base = np.arange(9) * 100.0 + 100
    parts = st.thirds_by_baseline_length(
        items(win=np.arange(9) / 8, baseline_chars=base, candidate_chars=base[::-1].copy())
    )
    assert {name: part.prompt_id.tolist() for name, part in parts.items()} == {
        "short": ["p0", "p1", "p2"], "middling": ["p3", "p4", "p5"], "long": ["p6", "p7", "p8"],
    }  # fmt: skip


def test_a_judge_of_places_is_found_and_cancels_to_one_half() -> None:
    asked = [comparison(i, f"r{i % 6}") for i in range(30)]
    verdicts = [
        Verdict(c.prompt_id, first, "first", (9.0, 3.0))
        for c in asked
        for first in ("baseline", "candidate")
    ]
    averaged = st.average_orders(asked, verdicts, 2)
    assert averaged.win.tolist() == [0.5] * 30
    assert st.relative_improvement(averaged).estimate == 0.0
    bias = st.position_bias(asked, verdicts)
    assert bias.found and bias.first_wins is not None and bias.first_wins.estimate == 1.0
    assert bias.score_gap is not None and bias.score_gap.estimate == 6.0
    assert bias.same_winner == 0.0


def test_a_fair_judge_of_unequal_models_has_no_bias() -> None:
    asked = [comparison(i, f"r{i % 6}") for i in range(30)]
    verdicts = []
    for c in asked:
        verdicts += [
            Verdict(c.prompt_id, "baseline", "second", (4.0, 7.0)),
            Verdict(c.prompt_id, "candidate", "first", (7.0, 4.0)),
        ]
    bias = st.position_bias(asked, verdicts)
    assert not bias.found and bias.same_winner == 1.0
    assert bias.first_wins is not None and bias.first_wins.estimate == 0.5
    assert st.average_orders(asked, verdicts, 2).win.tolist() == [1.0] * 30


def test_verdicts_against_their_own_scores_are_counted() -> None:
    verdicts = [
        Verdict("p0", "baseline", "first", (3.0, 8.0)),
        Verdict("p0", "candidate", "second", (8.0, 3.0)),
        Verdict("p1", "baseline", "first", (8.0, 3.0)),
        Verdict("p1", "candidate", "tie", (8.0, 3.0)),
    ]
    assert st.position_bias([comparison(0), comparison(1)], verdicts).contradictory == 0.5


def test_one_reader_shows_no_bias() -> None:
    bias = st.position_bias([comparison(0)], [Verdict("p0", "baseline", "first", (9.0, 3.0))])
    assert bias.first_wins is not None and bias.first_wins.estimate == 1.0 and not bias.found


def test_only_ties_show_no_bias() -> None:
    bias = st.position_bias([comparison(0)], [Verdict("p0", "baseline", "tie")])
    assert bias.first_wins is None and bias.score_gap is None and not bias.found
