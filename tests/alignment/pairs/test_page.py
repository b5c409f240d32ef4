"""docs/preference-data.md says what becomes of each layout: every example is run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ifllm_hf.alignment.pairs.source import open_pairs
from ifllm_hf.errors import DataError

PAGE = Path(__file__).parents[3] / "docs" / "preference-data.md"
BLOCK = re.compile(
    r"^```(json row|json becomes|text refused)\n(.*?)\n```$", re.MULTILINE | re.DOTALL
)
BLOCKS = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
EXAMPLES = list(zip(BLOCKS[::2], BLOCKS[1::2], strict=True))


def test_every_row_of_the_page_has_its_end() -> None:
    assert len(EXAMPLES) > 25
    assert {row[0] for row, _ in EXAMPLES} == {"json row"}
    assert {end[0] for _, end in EXAMPLES} == {"json becomes", "text refused"}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_page_says_what_becomes_of_a_row(number: int, tmp_path: Path) -> None:
    (_, row), (kind, end) = EXAMPLES[number]
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(json.loads(row)) + "\n")
    if kind == "text refused":
        with pytest.raises(DataError, match=re.escape(end)):
            open_pairs(str(file))
        return
    (pair,) = open_pairs(str(file))
    assert {side: pair[side] for side in ("prompt", "chosen", "rejected")} == json.loads(end)
