"""Which text a sample was on, by the paper's rule."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.behavior.paper.matching import (
    BEFORE_ANY,
    PLACEHOLDER,
    PROMPT,
    UNMATCHED,
    first_rows,
    flatten,
    locate,
    match_files,
)
from ifllm_hf.data.raw.samples import Samples
from ifllm_hf.errors import DataError
from tests.helpers.paper_samples import recorded


def found_near(window: str, text: str, caret: int) -> bool:
    """The rule, as plainly as it can be said; both texts are flat."""
    return window in text[max(0, caret - 15) : caret + 15]


def found(window: str, text: str, caret: int) -> bool:
    return locate([window], [caret], [text])[0] == [1]


def test_a_window_is_found_within_fifteen_characters_of_its_caret() -> None:
    text = "0123456789" * 5
    assert found("01234", text, 25) and found("56789", text, 25)
    assert not found("X", text, 25)
    assert found("0123456789", text, 4)
    assert found("34567", "abcdefghij34567", 25)
    assert not found("34567", "abcdefghij34567", 26)


def test_without_a_caret_the_first_fourteen_characters_are_looked_at() -> None:
    text = "abcdefghijklmnopq"
    assert found("jklmn", text, -1)
    assert not found("klmno", text, -1)


def test_line_ends_count_as_spaces_on_both_sides() -> None:
    assert flatten("a\r\nb\n") == "a  b "
    assert locate(["one two", "one\ntwo"], [4, 4], ["one\ntwo"]) == ([1, 1], [False, False])


def test_the_first_question_asked_wins_and_empty_answers_never_match() -> None:
    questions, on_prompt = locate(["same", "", "other"], [3, 3, 3], ["", "same text", "same text"])
    assert questions == [2, 0, 0]
    assert on_prompt == [False, True, False]


def test_placeholder_and_answer_are_found_independently() -> None:
    questions, on_prompt = locate(["your question"], [15], [PLACEHOLDER])
    assert questions == [1] and on_prompt == [True]


def test_labels_carry_on_off_the_answer_but_not_from_placeholder_or_unmatched() -> None:
    samples = recorded(
        (False, "", -1),
        (True, "wait patiently", 45),
        (False, "", -1),
        (True, "first answer", 6),
        (False, "", -1),
        (True, "Next Step", 3),
        (False, "", -1),
        (True, "", -1),
        (True, "second one", 6),
        (False, "", -1),
    )
    (file,) = match_files([("w/1, gaze a", samples)], ["the first answer", "a second one"])
    assert file.label.tolist() == [
        BEFORE_ANY, PROMPT, BEFORE_ANY, 1, 1, UNMATCHED, 1, PROMPT, 2, 2,
    ]  # fmt: skip
    assert file.question.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 2, 0]


def test_rows_without_a_time_are_dropped_after_they_took_part_in_matching() -> None:
    samples = recorded((True, "an answer", 4), (False, "", -1))
    late = np.array([np.nan, 100.0])
    broken = Samples(
        samples.x, samples.y, samples.window, samples.caret, late, samples.camera, late
    )
    (file,) = match_files([("w/1, gaze a", broken)], ["an answer"])
    assert file.label.tolist() == [1]


@pytest.mark.parametrize("window", [None, pl.Series([None, None], dtype=pl.String)])
def test_samples_without_windows_are_refused(window: pl.Series | None) -> None:
    s = recorded((True, "", 1), (True, "", 2))
    bare = Samples(s.x, s.y, window, s.caret, s.page_ms, s.camera, s.epoch_ms)
    with pytest.raises(DataError, match="w/1, gaze a: no text windows"):
        match_files([("w/1, gaze a", bare)], ["answer"])


def test_empty_files_match_to_nothing() -> None:
    (file,) = match_files([("w/1, gaze a", recorded())], ["answer"])
    assert len(file.label) == 0 and first_rows(file.label) == {}


ROW = st.tuples(st.booleans(), st.text("ab \n", max_size=3), st.integers(-1, 30))


@given(
    st.lists(ROW, max_size=12),
    st.lists(ROW, max_size=12),
    st.lists(st.text("ab \n", max_size=25), max_size=3),
)
def test_matching_equals_the_rule_row_by_row(
    gaze: list[tuple[bool, str, int]],
    mouse: list[tuple[bool, str, int]],
    answers: list[str],
) -> None:
    files = [("gaze", recorded(*gaze)), ("mouse", recorded(*mouse))]
    for rows, file in zip((gaze, mouse), match_files(files, answers), strict=True):
        last, expected = -2, []
        for on, raw, caret in rows:
            window = raw.strip().replace("\n", " ")
            near = [
                n
                for n, text in enumerate(answers, start=1)
                if text and found_near(window, flatten(text), caret)
            ]
            if not on:
                expected.append(last)
            elif found_near(window, PLACEHOLDER, caret):
                expected.append(-1)
            elif near:
                last = near[0]
                expected.append(last)
            else:
                expected.append(0)
        assert file.label.tolist() == expected
