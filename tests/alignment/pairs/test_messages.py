"""A refusal shows what was seen, and no more of it than a line holds."""

from __future__ import annotations

from ifllm_hf.alignment.pairs.messages import RowError


def test_a_short_value_is_shown_whole_and_of_a_long_one_the_beginning() -> None:
    assert "what was wrong ('a short value'); what to do" in str(
        RowError("what was wrong", "a short value", "what to do")
    )
    long = str(RowError("what was wrong", "begin " + "x" * 1000, "what to do"))
    assert "('begin xxx" in long and "x...'); what to do" in long
    assert len(long) < 120
