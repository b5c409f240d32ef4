"""Time on an answer, computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def test_dwell_is_the_capped_time_to_the_next_tick() -> None:
    f = features_of([0, 100, 300, 600, 3200], mouse=["a0", "a1", "-", "b5", "a9"])
    # a: 100 + 200 (+ 0 for the last tick); off: 300; b: 2600 capped to 1000
    assert f["reading_ms"] == 1600.0
    assert f["mouse_dwell_ms_a"] == 300.0
    assert f["mouse_dwell_ms_b"] == 1000.0
    assert f["mouse_dwell_ms_per_char_a"] == 3.0
    assert f["mouse_dwell_ms_per_char_b"] == 5.0
    assert f["mouse_dwell_share_a"] == pytest.approx(300 / 1600)
    assert f["mouse_off_text_ms"] == 300.0
    assert f["mouse_on_text_share"] == pytest.approx(1300 / 1600)
    assert f["mouse_recorded_share"] == 1.0
    assert f["either_dwell_ms_b"] == 1000.0
    delta = 500.0
    assert f["mouse_dwell_ms_log_ratio"] == pytest.approx(math.log((1000 + delta) / (300 + delta)))


def test_dwell_per_word_sentence_and_paragraph() -> None:
    text = "1. One two. Three!\n- Four"  # 6 words; "1." ends no sentence; 2 lines
    f = features_of([0, 600], mouse=["a0", "a0"], a=text)
    assert f["mouse_dwell_ms_per_word_a"] == 100.0
    assert f["mouse_dwell_ms_per_sentence_a"] == 200.0
    assert f["mouse_dwell_ms_per_paragraph_a"] == 300.0


def test_a_page_load_ends_a_ticks_time() -> None:
    f = features_of([0, 100, 5, 105], mouse=["a0", "a0", "a0", "a0"], page_load=[0, 0, 1, 1])
    assert f["mouse_dwell_ms_a"] == 200.0
    assert f["reading_ms"] == 200.0
    assert f["mouse_visits_a"] == 2.0


def test_recency_halves_with_the_half_life() -> None:
    # on a for the first 3 s, on b for the last 3 s of 6 s
    t = np.arange(0, 6001, 500)
    f = features_of(t, mouse=["a0"] * 6 + ["b0"] * 7)
    whole = 3000 / math.log(2)
    assert f["mouse_recency_3s_ms_b"] == pytest.approx(whole * (1 - 0.5))
    assert f["mouse_recency_3s_ms_a"] == pytest.approx(whole * (0.5 - 0.25))
    long = 15000 / math.log(2)
    assert f["mouse_recency_15s_ms_b"] == pytest.approx(long * (1 - 2 ** (-3 / 15)))


def test_recency_does_not_depend_on_how_time_is_cut() -> None:
    coarse = features_of([0, 900, 1800], mouse=["a0", "b0", "b0"])
    fine = features_of(range(0, 1801, 100), mouse=["a0"] * 9 + ["b0"] * 10)
    for side in "ab":
        name = f"mouse_recency_3s_ms_{side}"
        assert fine[name] == pytest.approx(coarse[name], rel=1e-12)


def test_last_third_cuts_through_a_tick() -> None:
    f = features_of([0, 500, 900], mouse=["a0", "b0", "-"])
    # 900 ms: the last third is 600-900; b spans 500-900
    assert f["mouse_last_third_ms_a"] == 0.0
    assert f["mouse_last_third_ms_b"] == pytest.approx(300.0)
    assert f["mouse_last_third_share_b"] == pytest.approx(1.0)


def test_pauses_are_stays_of_half_a_second() -> None:
    f = features_of(
        [0, 300, 600, 900, 1100, 1200], mouse=["a10", "a12", "a50", "a51", "a80", "a80"]
    )
    # stays: 10-12 for 600 ms, 50-51 for 500 ms, 80 for 100 ms
    assert f["mouse_pauses_a"] == 2.0
    assert f["mouse_longest_pause_ms_a"] == 600.0
    assert f["mouse_pause_share_a"] == pytest.approx(1100 / 1200)


def test_idle_counts_only_on_the_answer() -> None:
    f = features_of(
        [0, 200, 500, 900],
        mouse=["a0", "a0", "-", "b0"],
        mouse_idle_ms=[1600.0, 0.0, 9000.0, 9000.0],
    )
    assert f["mouse_idle_ms_a"] == 200.0
    assert f["mouse_idle_share_a"] == pytest.approx(200 / 500)
    assert f["mouse_idle_ms_b"] == 0.0


def test_late_share_halves_with_a_share_of_the_reading_time() -> None:
    # on a for the first 4 s of 5 s, on b for the last: one half-life of a fifth of the time
    t = np.arange(0, 5001, 500)
    f = features_of(t, mouse=["a0"] * 8 + ["b0"] * 3)
    whole = 0.2 / math.log(2)
    assert f["mouse_late_20pct_b"] == pytest.approx(whole / 2)
    assert f["mouse_late_20pct_a"] == pytest.approx(whole * (1 / 2 - 1 / 32))
    assert f["mouse_late_10pct_b"] == pytest.approx(0.1 / math.log(2) * 3 / 4)


def test_late_share_does_not_depend_on_the_pace() -> None:
    t = np.arange(0, 5001, 500)
    sides = ["a0"] * 7 + ["b0"] * 4
    fast, slow = features_of(t / 5, mouse=sides), features_of(t, mouse=sides)
    assert fast["mouse_late_30pct_log_ratio"] == pytest.approx(slow["mouse_late_30pct_log_ratio"])
    assert fast["mouse_recency_3s_ms_log_ratio"] != pytest.approx(
        slow["mouse_recency_3s_ms_log_ratio"], rel=0.05
    )
