"""The operator's status page, in a browser on the same machine."""

from __future__ import annotations

from typing import Any


def test_the_operator_sees_how_the_collection_stands(context: Any, space_url: str) -> None:
    page = context.new_page()
    page.set_viewport_size({"width": 1400, "height": 800})
    page.goto(space_url)
    page.get_by_role("tab", name="Status").click()
    page.get_by_role("rowheader", name="free disk").wait_for()
    assert page.get_by_role("row", name="collection").first.inner_text().count("off") == 1
