"""The steps of somebody who takes part, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def agree(page: Any, *, kind: str = "two answers", webcam: bool = False) -> None:
    page.get_by_label("I am 18").check()
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Go on").click()
    page.get_by_label(kind).check()
    if webcam:
        page.get_by_label("Use my webcam").check()
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="To the questions").click()


def ask(page: Any) -> None:
    page.get_by_role("heading", name="question").wait_for()
    page.locator("input[name=question]").first.check()
    page.get_by_role("button", name="Ask").click()
    page.locator(".ifllm-pair").wait_for()


def rate(page: Any, preference: str = "b") -> None:
    page.locator("input[name=likert_a][value='2']").check()
    page.locator("input[name=likert_b][value='5']").check()
    page.locator(f"input[name=preference][value={preference}]").check()
    page.get_by_role("button", name="Send the rating").click()
    page.get_by_role("heading", name="Another question").wait_for()


def finish(page: Any, *, look: Callable[[Any], None] = lambda page: None) -> str:
    look(page)
    page.get_by_role("button", name="Finish").click()
    page.get_by_label("What did you learn").fill("That maps are old.")
    look(page)
    page.get_by_role("button", name="Finish").click()
    page.get_by_role("heading", name="Thank you").wait_for()
    look(page)
    return str(page.locator("[data-code]").inner_text())
