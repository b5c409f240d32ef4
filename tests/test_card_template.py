from __future__ import annotations

import pytest

from ifllm_hf.card_template import fill


def test_numbers_are_formatted_and_a_unit_without_its_number_disappears() -> None:
    template = (
        "# T\n\nAll {{n}} of {{share:.1%}}.\n\nGone {{x}}.\n\n- one {{n}}\n- two {{x}}\n- 3\n"
    )
    filled = fill(template, {"n": 12345, "share": 0.25, "x": None})
    assert filled == "# T\n\nAll 12,345 of 25.0%.\n\n- one 12,345\n- 3\n"


def test_a_section_goes_with_its_heading_or_with_its_last_sentence() -> None:
    template = (
        "# T\n\ntext\n\n## Cut {{x}}\n\nnot here\n\n### nor here\n\nno\n\n"
        "## Empty\n\n{{x}}\n\n## Stays\n\n### Sub\n\nyes\n"
    )
    assert fill(template, {"x": None}) == "# T\n\ntext\n\n## Stays\n\n### Sub\n\nyes\n"


def test_a_list_that_loses_its_last_item_still_ends() -> None:
    template = "- one\n- two {{x}}\n- three {{x}}\n\n## Next\n\ntext\n"
    assert fill(template, {"x": None}) == "- one\n\n## Next\n\ntext\n"


def test_fenced_code_is_one_unit_and_its_comments_are_no_headings() -> None:
    template = "# T\n\n```python\n# {{n}}\n\nx = 1\n\n- y\n```\n\nend\n"
    assert fill(template, {"n": 2}) == template.replace("{{n}}", "2")
    assert fill("a\n\n```\n{{n}}\n\nb\n```\n\nc\n", {"n": None}) == "a\n\nc\n"


def test_a_condition_leaves_no_trace() -> None:
    assert fill("a.{{real}}\n\nb.{{fake}}\n", {"real": "", "fake": None}) == "a.\n"


def test_a_name_nobody_counts_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        fill("{{nobody}}", {})
