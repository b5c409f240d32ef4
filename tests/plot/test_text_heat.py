"""Heat stays where the characters are, and adds up to the dwell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.plot.text_heat import columns_in, draw_text, height_pt, lines_in, set_text, smoothed


@settings(max_examples=30)
@given(st.text(st.sampled_from("ab \n\té漢🙂"), max_size=120), st.integers(1, 12))
def test_smoothing_keeps_the_sum_and_draws_on_characters_alone(text: str, columns: int) -> None:
    placed = set_text(text, columns)
    dwell = np.arange(len(text), dtype=float)
    for spread in ((0.0, 0.0), (0.0, 3.0), (2.0, 14.0)):
        heat = smoothed(placed, dwell, spread)
        assert heat.shape == (len(placed.rows), columns)
        assert heat.sum() == pytest.approx(dwell.sum())
        assert not heat[placed.grid(np.ones(len(text))) == 0].any()
    assert smoothed(placed, dwell, (0.0, 0.0)) == pytest.approx(placed.grid(dwell))


def test_gaze_spreads_over_lines_and_the_mouse_does_not() -> None:
    placed = set_text("aaaa\nbbbb\ncccc", 4)
    dwell = np.zeros(14)
    dwell[6] = 100.0  # the second b
    mouse = smoothed(placed, dwell, (0.0, 3.0))
    assert mouse[1].sum() == pytest.approx(100) and not mouse[[0, 2]].any()
    gaze = smoothed(placed, dwell, (2.0, 14.0))
    assert (gaze > 0).all() and gaze[1, 1] == gaze.max() and gaze[0, 1] == pytest.approx(gaze[2, 1])


def test_every_character_has_a_place_and_what_is_cut_is_counted() -> None:
    placed = set_text("one two\nthree", 5)
    assert placed.rows == ["one", "two", "three"]
    # The blank and the line break where lines end stand at the character before.
    assert placed.row.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2]
    assert placed.column.tolist() == [0, 1, 2, 2, 0, 1, 2, 2, 0, 1, 2, 3, 4]
    assert [placed.hidden_after(n) for n in range(4)] == [13, 9, 5, 0]
    assert set_text("\nx", 5).row.tolist() == [0, 1]


def test_room_for_lines_and_columns_is_what_the_axes_take() -> None:
    columns = columns_in(340)
    assert lines_in(height_pt(17, 340, columns)) == 17


def test_a_text_is_drawn_with_a_cell_for_each_character() -> None:
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    placed = set_text("**bold** $x_1$ \u6f22\n`code`", 20)
    ones = placed.grid(np.ones(len(placed.text)))
    draw_text(axes, placed, 1, ones, 2 * ones, (2.0, 2.0))
    (image,) = axes.images
    assert np.asarray(image.get_array()).tolist() == ones[:1].tolist()
    underline, ink, markup = axes.collections
    assert len(underline.get_segments()) == int((ones[0] > 0).sum())
    # One line of ink, one of markup: the second line of the text is cut.
    assert len(ink.get_paths()) == len(markup.get_paths()) == 1
    # Outlines lie in the cells of their characters.
    box = markup.get_paths()[0].get_extents()
    assert 0 <= box.x0 < 1 and 7 < box.x1 <= 8 and 0 <= box.y0 < box.y1 <= 1
    assert axes.get_xlim()[1] > 20 and axes.yaxis_inverted()
