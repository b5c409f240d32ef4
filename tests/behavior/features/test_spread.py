from __future__ import annotations

import math

import numpy as np
import pytest

from tests.helpers.reading_turns import features_of


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
