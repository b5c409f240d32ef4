"""docs/known-truth.md: what needs no model is run, all of it can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ifllm_hf.data.known_truth import known_world

PAGE = Path(__file__).parents[3] / "docs" / "known-truth.md"


def test_the_page_says_what_is() -> None:
    text = PAGE.read_text()
    first, *others = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(first, str(PAGE), "exec"), names)
    found = names["found"]
    assert (found.right + found.wrong, found.fillers, found.nonsense) == (1, 1, 1)
    assert names["question"].text in first
    for code in others:
        compile(code, str(PAGE), "exec")
    for split in ("train", "test"):
        assert f"{len(known_world().questions(split)):,}" in text
