from __future__ import annotations

import math

import pytest

from tests.helpers.reading_turns import features_of


def test_scroll_where_recorded() -> None:
    f = features_of(
        [0, 100, 200, 300],
        mouse=["a0"] * 4,
        scroll_y_px_a=[0.0, None, 120.0, 90.0],
        scroll_y_px_b=[None] * 4,
    )
    assert f["scroll_px_a"] == 150.0
    assert f["scroll_back_share_a"] == pytest.approx(30 / 150)
    assert math.isnan(f["scroll_px_b"])
    assert math.isnan(features_of([0, 100], mouse=["a0", "a0"])["scroll_px_a"])


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
    assert math.isnan(unknown["visible_ms_a"]) and math.isnan(unknown["visible_depth_a"])


def test_what_was_on_screen_is_forgotten_at_a_reload() -> None:
    f = features_of(
        [0, 100, 0, 100, 300],
        page_load=[0, 0, 1, 1, 1],
        mouse=["-"] * 5,
        visible_from_char_a=[0, None, None, 0, None],
        visible_to_char_a=[2, None, None, 1, None],
    )
    assert f["visible_ms_a"] == 100.0 + 200.0
