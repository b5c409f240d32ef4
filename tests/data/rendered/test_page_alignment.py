"""Offsets of a page's text find their Markdown, or a reason; a page that lies gets none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.data.rendered.page_alignment import (
    BROWSER,
    OTHER_MARKDOWN,
    OTHER_TEXT,
    OUR_RENDERER,
    RUNS_DO_NOT_FIT,
    WRONG_LENGTH,
    PageAlignment,
    align_by_runs,
    align_page,
)
from ifllm_hf.data.rendered.page_text import page_hash
from ifllm_hf.files import digest

SOURCE = "# Heat 😀\n\n- *warm* `x`\n- $e^2$ end"
SHOWN = "Heat😀warmx$e^2$end"


def aligned() -> PageAlignment:
    found = align_page(SOURCE, page_hash(SHOWN), len(SHOWN) + 1)
    assert isinstance(found, PageAlignment) and found.by == OUR_RENDERER
    return found


def unit(index: int) -> str:
    return SOURCE.encode("utf-16-le")[2 * index : 2 * index + 2].decode("utf-16-le", "replace")


def test_every_unit_stands_where_the_same_character_is() -> None:
    found = aligned()
    shown = SHOWN.encode("utf-16-le")
    for k in range(len(SHOWN) + 1):
        place = found.place(k)
        assert place is not None
        assert unit(place) == shown[2 * k : 2 * k + 2].decode("utf-16-le", "replace")
    assert found.place(len(SHOWN) + 1) is None and found.place(-1) is None
    first, last = found.stretch(6, 9) or (0, 0)
    assert SOURCE.encode("utf-16-le")[2 * first : 2 * last + 2].decode("utf-16-le") == "warm"
    assert found.stretch(6, len(SHOWN) + 1) is None and found.stretch(9, 6) is None


@pytest.mark.parametrize(
    ("text", "length", "why"),
    [("Heat", 4, OTHER_TEXT), (SHOWN, 5, WRONG_LENGTH), (SHOWN, 10**6, WRONG_LENGTH)],
)
def test_a_page_that_lies_has_no_alignment(text: str, length: int, why: str) -> None:
    assert align_page(SOURCE, page_hash(text), length) == why


def test_a_browser_aligns_what_we_cannot_predict() -> None:
    runs = [[0, 2, 6], [6, 13, 4]]  # then a formula, of which one anchor is known
    found = align_by_runs(SOURCE, 12, digest(SOURCE), [*runs, [10, 26, 1]])
    assert isinstance(found, PageAlignment) and found.by == BROWSER
    assert found.place(6) == 13 and found.place(10) == 26 and found.place(11) is None
    assert found.stretch(9, 11) == (16, 26) and found.stretch(11, 11) is None


@pytest.mark.parametrize(
    "runs",
    [
        [[0, 2, 6], [5, 13, 2]],  # overlap on the page
        [[0, 2, 6], [6, 3, 2]],  # back in the Markdown
        [[10, 0, 3]],  # beyond the page
        [[0, 10**6, 1]],  # beyond the Markdown
        [[0, 0, 10**6]],
    ],
)
def test_runs_that_cannot_be_true_are_refused(runs: Any) -> None:
    assert align_by_runs(SOURCE, 12, digest(SOURCE), runs) == RUNS_DO_NOT_FIT


def test_runs_to_another_markdown_are_refused() -> None:
    assert align_by_runs(SOURCE, 12, digest("other"), [[0, 0, 1]]) == OTHER_MARKDOWN
    empty = align_by_runs(SOURCE, 12, digest(SOURCE), [])
    assert isinstance(empty, PageAlignment) and empty.place(0) is None


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3), max_size=6))
def test_whatever_runs_come_places_are_inside_or_refused(runs: list[tuple[int, ...]]) -> None:
    found = align_by_runs(SOURCE, 12, digest(SOURCE), runs)
    if isinstance(found, PageAlignment):
        known = found.places[found.places >= 0]
        assert len(found.places) == 12 and (known < len(SOURCE) + 1).all()
        assert (known[1:] > known[:-1]).all()
    else:
        assert found == RUNS_DO_NOT_FIT
