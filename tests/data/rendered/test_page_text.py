"""What pages show of an answer, as they count it: equal to what their own parsers make of it."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ifllm_hf.data.raw.csv_tables import QUERY_LOGS
from ifllm_hf.data.rendered.page_alignment import PageAlignment, align_page
from ifllm_hf.data.rendered.page_text import (
    BLANKS,
    page_hash,
    predicted_text,
    units,
    without_blanks,
)
from ifllm_hf.files import digest

FROZEN = Path(__file__).with_name("marked_hashes.csv")


def test_blank_is_what_javascript_calls_so() -> None:
    # ECMAScript 2024, 12.2 and 12.3: WhiteSpace and LineTerminator.
    for code in range(0x10000):
        char = chr(code)
        if re.match(r"\s", char) and char not in BLANKS:
            assert code in (0x1C, 0x1D, 0x1E, 0x1F, 0x85), hex(code)  # Python's alone
    assert "\ufeff" in BLANKS and "\u200b" not in BLANKS
    assert len(set(BLANKS)) == len(BLANKS) == 25


@given(st.text())
def test_hash_and_count_ignore_blanks_alone(text: str) -> None:
    spread = "".join(f" {char}\n\u00a0" for char in text)
    assert page_hash(spread) == page_hash(text)
    assert len(units(without_blanks(text))) == sum(
        1 + (char > "\uffff") for char in text if char not in BLANKS
    )


@given(st.text(alphabet="ab *_`#>|-[]()&;\\\n\t1.😀é", max_size=60))
def test_every_shown_unit_has_its_place_in_order(source: str) -> None:
    page = predicted_text(source)
    assert len(page.places) == len(units(page.text))
    assert (page.places[1:] >= page.places[:-1]).all()
    there = units(source)[page.places] if len(page.places) else units("")
    same = there == units(page.text)
    assert (same | (there == ord("&"))).all()


def test_known_pages_of_a_real_parser() -> None:
    assert predicted_text("x &amp; y &lt; z \\* 😀").text == "x&y<z*😀"
    assert predicted_text("[text](https://example.org) and `code  x`").text == "textandcodex"
    assert predicted_text("# A *b*\n\n1. one\n2. two **three**").text == "Abonetwothree"
    fenced = "```python\nfor a in b:\n    print(a)\n```"
    assert predicted_text(fenced).text == "forainb:print(a)"


def test_a_hundred_answers_as_open_webui_and_gradio_show_them(
    release_cells: dict[str, pl.DataFrame],
) -> None:
    """Written by `make rendered-test` with `--freeze`, which runs marked itself on all answers."""
    logs = release_cells[QUERY_LOGS]
    answers = {digest(a): a for n in (1, 2) for a in logs[f"llm_response_{n}"].to_list() if a}
    with FROZEN.open(encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    known = [(answers[row["answer"]], row) for row in rows if row["answer"] in answers]
    assert len(rows) == 100 and len(known) > 90
    for of_page in ("9", "12"):
        found = [
            align_page(a, row[f"sha256_{of_page}"], int(row[f"units_{of_page}"]))
            for a, row in known
        ]
        fit = sum(isinstance(f, PageAlignment) for f in found)
        assert fit / len(known) >= 0.98
