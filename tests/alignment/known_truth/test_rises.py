"""Rises, differences and ratios: exact small examples, paired draws, what is not defined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ifllm_hf.alignment.known_truth.release_place import release_place
from ifllm_hf.alignment.known_truth.rises import Rises, setting_of
from ifllm_hf.errors import DataError

CLICKS = ("explicit", 0.2, None, "cdpo", None)
ALL = ("all", 0.2, 0.75, "cdpo", None)


def of_all(record: Any, seed: int = 0, **given: Any) -> Any:
    return record(seed, source="all", strength=0.75, **given)


def test_a_rise_is_the_mean_over_seeds_of_the_mean_over_answers(record: Any) -> None:
    one, two = record(0, rise=(0.0, 1.0)), record(1, rise=(2.0, 2.0))
    one["readers"]["r1"] = [30, 210.0, 240.0]  # 1.0 on thirty answers
    rises = Rises([one, two])
    assert setting_of(one) == CLICKS and rises.seeds(CLICKS) == [0, 1]
    found = rises.rise(CLICKS)
    assert found.estimate == pytest.approx((30 / 40 + 2.0) / 2)
    assert found.low < found.estimate < found.high and found.groups == 4


def test_equal_rises_differ_by_nothing_in_every_draw(record: Any) -> None:
    records = [record(s, rise=(s, 3.0)) for s in range(3)]
    records += [of_all(record, s, rise=(s, 3.0)) for s in range(3)]
    rises = Rises(records)
    found = rises.difference(ALL, CLICKS)
    assert (found.low, found.estimate, found.high) == pytest.approx((0, 0, 0))
    ratio = rises.ratio(ALL, CLICKS).value
    assert (ratio.low, ratio.estimate, ratio.high) == pytest.approx((1, 1, 1))


def test_three_times_the_rise_is_a_ratio_of_three(record: Any) -> None:
    rises = Rises([record(0, rise=(0.4, 0.6)), of_all(record, rise=(1.2, 1.8))])
    assert rises.ratio(ALL, CLICKS).value.estimate == pytest.approx(3.0)
    assert rises.difference(ALL, CLICKS).estimate == pytest.approx(1.0)


def test_what_a_coin_does_is_taken_off_both(record: Any) -> None:
    rises = Rises(
        [
            record(0, rise=(0.6, 0.6)),
            record(0, damage="coin", rise=(0.1, 0.1)),
            of_all(record, rise=(1.4, 1.4)),
            of_all(record, damage="coin", rise=(0.4, 0.4)),
        ]
    )
    nulls = ((*ALL[:4], "coin"), (*CLICKS[:4], "coin"))
    assert rises.ratio(ALL, CLICKS, nulls).value.estimate == pytest.approx(2.0)
    assert rises.ratio(ALL, CLICKS, nulls[::-1]).value.estimate == pytest.approx(1.3 / 0.2)


@pytest.mark.parametrize("rise", [(-0.4, 0.6), (-0.5, -0.6), (0.0, 0.0)])
def test_a_ratio_is_not_defined_where_clicks_alone_do_not_rise(record: Any, rise: Any) -> None:
    found = Rises([record(0, rise=rise), of_all(record)]).ratio(ALL, CLICKS)
    assert found.value is None and "not defined" in found.undefined


def test_only_seeds_that_both_have_are_compared(record: Any) -> None:
    rises = Rises([record(0, rise=(1, 1)), record(1, rise=(9, 9)), of_all(record, rise=(2, 2))])
    assert rises.difference(ALL, CLICKS).estimate == pytest.approx(1.0)
    assert Rises([record(1), of_all(record, 0)]).difference(ALL, CLICKS) is None
    assert Rises([record(1), of_all(record, 0)]).ratio(ALL, CLICKS).value is None


def test_one_reader_has_a_rise_without_an_interval(record: Any) -> None:
    found = Rises([record(0, rise=(0.5,))]).rise(CLICKS)
    assert found.estimate == pytest.approx(0.5) and np.isnan([found.low, found.high]).all()


def test_lines_of_other_releases_are_not_compared(record: Any) -> None:
    with pytest.raises(DataError, match="two lines of seed 0 have other held-out readers"):
        Rises([record(0), of_all(record, rise=(1, 1, 1))])


def test_intervals_cover_what_they_should() -> None:
    """Readers and seeds drawn from normal laws: 95 % intervals hold the truth nearly that often."""
    rng = np.random.default_rng(0)
    held, names = 0, ("source", "share", "strength", "loss", "damage")
    named = dict(zip(names, CLICKS, strict=True))
    for _ in range(60):
        records = []
        for seed in range(5):
            mean = 0.5 + 0.1 * rng.normal()
            sums = {f"r{k}": [40, 280.0, 280 + 40 * (mean + 0.3 * rng.normal())] for k in range(14)}
            records.append({**named, "seed": seed, "readers": sums})
        found = Rises(records, draws=500).rise(CLICKS)
        held += found.low < 0.5 < found.high
    assert held >= 51


def test_the_release_stands_where_labels_agree_with_clicks_as_often(record: Any) -> None:
    def line(strength: float, liked: int) -> Any:
        made = record(0, source="all", strength=strength)
        made["labels"]["bins"][0]["liked"] = liked  # of 150
        return made

    found = release_place(Rises([line(0.6, 75), line(0.75, 95), line(0.95, 120)]))
    assert found.agreement == pytest.approx([0.5, 0.05 + 0.9 * 95 / 150, 0.05 + 0.9 * 0.8])
    assert 0.75 < found.place < 0.95 and found.low < found.place < found.high
    assert release_place(Rises([line(0.6, 75), line(0.75, 80)])).place == np.inf
    assert release_place(Rises([line(0.6, 140), line(0.75, 145)])).place == -np.inf
    assert release_place(Rises([line(0.6, 75)])) is None
