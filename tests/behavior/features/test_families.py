"""Small turns whose features are computed by hand, one family after the other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


def nan(value: float) -> bool:
    return math.isnan(value)


# time: 0, 100, 300, 600, 1600 (capped from 2600), last tick has none


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


def test_spread_over_blocks_sentences_and_paragraphs() -> None:
    text = "a" * 39 + "\n" + "b" * 39 + "\n" + "c" * 20  # 100 characters, 3 lines, 3 blocks
    f = features_of([0, 300, 400, 800], mouse=["a5", "a41", "a79", "-"], a=text)
    # 300 ms in line 1, 100 ms in line 2; character 79 is the line break that ends line 2: 400 ms
    assert f["mouse_coverage_a"] == pytest.approx(2 / 3)
    assert f["mouse_depth_a"] == 0.8
    assert f["mouse_position_mean_a"] == pytest.approx((300 * 5.5 + 100 * 41.5 + 400 * 79.5) / 8e4)
    p = 300 / 800
    bits = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert f["mouse_paragraph_entropy_bits_a"] == pytest.approx(bits)
    assert f["mouse_sentence_entropy_bits_a"] == pytest.approx(bits)
    parts = np.array([300, 100, 400]) / 800  # of the ten parts, 0, 4 and 7
    assert f["mouse_spread_entropy_a"] == pytest.approx(-(parts * np.log(parts)).sum() / np.log(10))
    assert f["mouse_top1_paragraph_share_a"] == pytest.approx(5 / 8)
    assert f["mouse_top3_paragraph_share_a"] == 1.0
    assert f["mouse_paragraphs_visited_share_a"] == pytest.approx(2 / 3)
    assert f["mouse_sentences_visited_share_a"] == pytest.approx(2 / 3)


def test_all_dwell_in_one_place_has_no_entropy() -> None:
    f = features_of([0, 300], mouse=["a5", "a5"])
    assert f["mouse_spread_entropy_a"] == 0.0
    assert math.copysign(1.0, f["mouse_paragraph_entropy_bits_a"]) == 1.0
    assert f["mouse_paragraph_entropy_bits_a"] == 0.0


def test_regressions_and_rereading() -> None:
    f = features_of(
        [0, 100, 200, 300, 400, 500, 600], gaze=["a0", "a40", "a20", "a15", "a60", "a30", "a30"]
    )
    # steps 40, -20, -5, 45, -30, 0: two regressions of 20 and 30 characters among six steps
    assert f["gaze_regressions_a"] == 2.0
    assert f["gaze_regression_share_a"] == pytest.approx(2 / 6)
    assert f["gaze_regression_chars_mean_a"] == 25.0
    assert f["gaze_regression_time_share_a"] == pytest.approx(200 / 600)
    # over ten behind the furthest: 20, 15 (of 40), 30 (of 60); the last tick has no time
    assert f["gaze_reread_share_a"] == pytest.approx(300 / 600)
    assert f["gaze_forward_share_a"] == pytest.approx(2 / 5)


def test_velocity_and_its_changes() -> None:
    f = features_of([0, 100, 300, 400], gaze=["a0", "a10", "a50", "a40"])
    # 100, 200, -100 characters per second
    assert f["gaze_speed_chars_per_s_a"] == pytest.approx(60 / 0.4)
    assert f["gaze_speed_sd_chars_per_s_a"] == pytest.approx(np.std([100, 200, 100]))
    assert f["gaze_speed_change_chars_per_s_a"] == pytest.approx((100 + 300) / 2)


def test_steps_do_not_cross_visits() -> None:
    f = features_of([0, 100, 200], gaze=["a90", "b0", "a0"])
    assert f["gaze_regressions_a"] == 0.0
    assert nan(f["gaze_regression_share_a"])
    assert nan(f["gaze_speed_chars_per_s_a"])


def test_visits_first_and_last_look_and_switches() -> None:
    t = [0, 100, 200, 300, 400, 1700, 1800, 1900]
    f = features_of(t, mouse=["-", "a0", "b0", "-", "b1", "b2", "a0", "-"])
    # b: 200-500 (a short way off the text ends nothing), then 1.3 s without a tick, then again
    assert f["mouse_visits_a"] == 2.0
    assert f["mouse_visits_b"] == 2.0
    assert f["mouse_switches"] == 2.0
    assert f["mouse_first_side"] == -1.0
    assert f["mouse_last_side"] == -1.0
    assert f["mouse_first_look_ms_a"] == 100.0
    assert f["mouse_first_look_ms_b"] == 200.0
    # the clock counts the 1.3 s as 1 s: 1600 in all, b last from 1400 to 1500
    assert f["mouse_last_look_before_end_ms_b"] == pytest.approx(100.0)
    assert f["mouse_last_look_before_end_ms_a"] == 0.0
    assert f["mouse_first_visit_ms_b"] == pytest.approx(100 + 1000)
    assert f["mouse_visit_ms_mean_b"] == pytest.approx((100 + 1000 + 100) / 2)
    on_text = 100 + 100 + 1000 + 100 + 100
    assert f["mouse_switches_per_min"] == pytest.approx(2 / (on_text / 60000))


def test_camera_lost() -> None:
    f = features_of([0, 100, 400, 500], gaze=["-"] * 4, camera_ok=[True, False, None, True])
    assert f["gaze_camera_lost_share"] == pytest.approx(300 / 400)


def test_fixations_of_a_turn() -> None:
    t = [0, 100, 200, 300, 400, 500]
    f = features_of(t, gaze=["b0", "b90", "b100", "b101", "b199", "b199"])
    # 0-100 spreads 100 characters over 200 ms; then 101-199 over 200 ms
    assert f["gaze_fixations_b"] == 2.0
    assert f["gaze_fixations_per_100_chars_b"] == 1.0
    assert f["gaze_fixation_ms_mean_b"] == pytest.approx(250.0)
    assert f["gaze_longest_fixation_ms_b"] == 300.0
    assert f["gaze_fixation_share_b"] == 1.0
    assert f["gaze_fixations_a"] == 0.0
    assert nan(f["gaze_fixation_ms_mean_a"])


def test_agreement_counts_only_with_both_on_an_answer() -> None:
    f = features_of(
        [0, 100, 300, 600, 1000],
        gaze=["a10", "a20", "b0", "-", "a0"],
        mouse=["a40", "b5", "b6", "a0", "-"],
    )
    assert f["mouse_gaze_ms"] == 600.0
    assert f["mouse_gaze_agreement"] == pytest.approx(400 / 600)
    assert f["mouse_gaze_same_ms_a"] == 100.0
    assert f["mouse_gaze_distance_chars_a"] == 30.0
    assert f["mouse_gaze_distance_chars_b"] == 6.0


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_lag_is_found(lag: int) -> None:
    rng = np.random.default_rng(5)
    path = rng.integers(0, 200, 120)
    n = 100
    gaze = path[10 : 10 + n]
    mouse = path[10 - lag : 10 - lag + n]  # what the gaze read `lag` ticks earlier
    t = np.arange(n) * 200
    f = features_of(t, gaze=[f"b{c}" for c in gaze], mouse=[f"b{c}" for c in mouse])
    assert f["mouse_gaze_lag_ms"] == lag * 200.0
    assert f["mouse_gaze_correlation"] == pytest.approx(1.0)


def test_events_in_their_own_ticks() -> None:
    """Collected sessions have one event per tick; the other channel is not sampled there."""
    f = features_of(
        [0, 50, 100, 150, 400],
        gaze=["a0", None, "a3", None, "-"],
        mouse=[None, "b0", None, "-", None],
    )
    assert f["gaze_dwell_ms_a"] == 400.0
    assert f["mouse_dwell_ms_b"] == 100.0
    assert f["gaze_recorded_share"] == 1.0
    # the gaze at 100 meets the mouse of 50; the one at 0 comes before it
    assert f["mouse_gaze_ms"] == 300.0
    assert f["mouse_gaze_agreement"] == 0.0


def test_scroll_where_recorded() -> None:
    f = features_of(
        [0, 100, 200, 300],
        mouse=["a0"] * 4,
        scroll_y_px_a=[0.0, None, 120.0, 90.0],
        scroll_y_px_b=[None] * 4,
    )
    assert f["scroll_px_a"] == 150.0
    assert f["scroll_back_share_a"] == pytest.approx(30 / 150)
    assert nan(f["scroll_px_b"])
    assert nan(features_of([0, 100], mouse=["a0", "a0"])["scroll_px_a"])


def test_what_was_on_screen_where_recorded() -> None:
    """A range holds until the next one of the same answer; 0 to 0 is nothing on screen."""
    f = features_of(
        [0, 100, 250, 450, 700],
        mouse=["-", None, None, "a0", "-"],
        visible_from_char_a=[0, None, 0, None, None],
        visible_to_char_a=[2, None, 0, None, None],
        visible_from_char_b=[None, 1, None, None, None],
        visible_to_char_b=[None, 3, None, None, None],
        a="x" * 20,
        b="y" * 40,
    )
    assert (f["visible_ms_a"], f["visible_ms_b"]) == (250.0, 600.0)
    assert f["visible_depth_a"] == pytest.approx(2 / 20)
    assert f["visible_depth_b"] == pytest.approx(3 / 40)
    unknown = features_of([0, 100], mouse=["a0", "a0"])
    assert nan(unknown["visible_ms_a"]) and nan(unknown["visible_depth_a"])


def test_what_was_on_screen_is_forgotten_at_a_reload() -> None:
    f = features_of(
        [0, 100, 0, 100, 300],
        page_load=[0, 0, 1, 1, 1],
        mouse=["-"] * 5,
        visible_from_char_a=[0, None, None, 0, None],
        visible_to_char_a=[2, None, None, 1, None],
    )
    assert f["visible_ms_a"] == 100.0 + 200.0


def test_either_takes_the_mouse_only_if_it_was_on_an_answer() -> None:
    t = [0, 100, 300]
    by_gaze = features_of(t, gaze=["a0", "b0", "-"], mouse=["-", "-", "-"])
    assert (by_gaze["either_dwell_ms_a"], by_gaze["either_dwell_ms_b"]) == (100.0, 200.0)
    by_mouse = features_of(t, gaze=["a0", "b0", "-"], mouse=["b0", "-", "-"])
    assert (by_mouse["either_dwell_ms_a"], by_mouse["either_dwell_ms_b"]) == (0.0, 100.0)
    assert nan(features_of(t)["either_dwell_ms_a"])
