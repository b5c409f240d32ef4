from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.plot.wrapped_text import wrap


@given(st.text(alphabet="ab \n\t$é🙂", max_size=80), st.integers(1, 12))
def test_wrapping_keeps_every_character_in_its_place(text: str, columns: int) -> None:
    placed, rows = wrap(text, columns)
    assert all(len(row) <= columns for row in rows)
    shown = "".join(rows).replace(" ", "")
    assert shown == re.sub(r"[ \n\t]", "", text)
    for character, (row, column) in zip(text, placed.tolist(), strict=True):
        if row >= 0:
            assert rows[row][column] == character.replace("\t", " ")
        else:
            assert character in " \n\t"
