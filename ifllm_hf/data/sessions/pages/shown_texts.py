"""Which stored text each text on a page is, and where its characters stand in the Markdown.

A browser may lie: of a message that no owner told nothing is used, and a text whose hash fits none
of the stored ones has no offsets, unless the browser aligned it to exactly one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ifllm_hf.data.rendered.page_alignment import (
    OTHER_MARKDOWN,
    OTHER_TEXT,
    PageAlignment,
    Run,
    align_by_runs,
    align_page,
)
from ifllm_hf.data.sessions.pages.stored_texts import StoredMessages, StoredText
from ifllm_hf.data.sessions.pages.told import PageLoad, ToldText

NOT_TOLD = "its message is not told by the page's owner"


@dataclass(frozen=True)
class ShownText:
    """A text on a page.

    Attributes:
        text: The stored one; of one that fits none, that which its message had at the time.
        alignment: Where its characters stand; a reason where that is unknown.
    """

    text: StoredText
    alignment: PageAlignment | str


def shown_texts(load: PageLoad, messages: StoredMessages) -> dict[int, ShownText]:
    """Return the texts of a page load by number; those that no owner told of are not in it."""
    first_ms = {event[2]: event[1] for event in reversed(load.events) if event[0] == "m"}
    shown = {}
    for number, told in load.texts.items():
        if (told.chat, told.message_id) in messages.texts:
            at_ms = load.origin_ms + first_ms[number]
            shown[number] = _shown(told, load.runs.get(number), messages, at_ms)
    return shown


def _shown(
    told: ToldText,
    runs: tuple[str, Sequence[Run]] | None,
    messages: StoredMessages,
    at_ms: float,
) -> ShownText:
    page_id = (told.chat, told.message_id)
    texts = messages.texts[page_id][::-1]
    why = OTHER_TEXT
    for text in texts:
        found = align_page(text.content, told.sha256, told.units)
        if isinstance(found, PageAlignment):
            return ShownText(text, found)
        if found != OTHER_TEXT:
            why = found
    if runs is not None:
        by_browser = [align_by_runs(text.content, told.units, *runs) for text in texts]
        for text, found in zip(texts, by_browser, strict=True):
            if isinstance(found, PageAlignment):
                return ShownText(text, found)
        refused = (found for found in by_browser if found != OTHER_MARKDOWN)
        why = next((found for found in refused if isinstance(found, str)), OTHER_MARKDOWN)
    return ShownText(messages.at(page_id, at_ms), why)
