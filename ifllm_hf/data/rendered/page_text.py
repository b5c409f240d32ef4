r"""The text of a rendered answer as pages of any kind count it: without its blanks.

Pages break lines, indent lists and space tables each in its own way, and none of it is in the text
of another. So an offset into a page's text counts the UTF-16 units that are not blank, and the text
is told by a hash of them: `sha256` of their UTF-8. Blank is what `\s` matches in JavaScript.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from html import unescape

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.data.rendered.markdown_source import render_markdown
from ifllm_hf.files import digest

BLANKS = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""The characters that are not counted."""

_BLANK_UNITS = np.zeros(2**16, np.bool_)
_BLANK_UNITS[[ord(blank) for blank in BLANKS]] = True
_NO_BLANKS = {ord(blank): None for blank in BLANKS}
_RUN = re.compile(r'<span data-s="(\d+)">(.*?)</span>', re.DOTALL)


@dataclass(frozen=True, eq=False)
class PageText:
    """What we expect a page to show of an answer.

    Attributes:
        text: Its characters without blanks.
        places: [n] for each UTF-16 unit of `text`, the UTF-16 unit of the Markdown that it is.
    """

    text: str
    places: NDArray[np.int64]

    @property
    def sha256(self) -> str:
        """What a page says of the same text."""
        return digest(self.text)


def without_blanks(text: str) -> str:
    r"""Return the characters of a page's text that are counted.

    >>> without_blanks(" a\u00a0b\n")
    'ab'
    """
    return text.translate(_NO_BLANKS)


def page_hash(text: str) -> str:
    """Return what a page says of its text: sha256 of what is not blank, 64 hex digits."""
    return digest(without_blanks(text))


def units(text: str) -> NDArray[np.uint16]:
    """Return the UTF-16 units of a text."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), np.uint16)


@lru_cache(maxsize=64)
def predicted_text(markdown: str) -> PageText:
    """Return what a page is expected to show of an answer: what our own renderer shows."""
    texts, places = [], [np.empty(0, np.int64)]
    for start, run in _RUN.findall(render_markdown(markdown)):
        text = unescape(run)
        counted = np.flatnonzero(~_BLANK_UNITS[units(text)])
        texts.append(without_blanks(text))
        places.append(counted + int(start))
    return PageText("".join(texts), np.concatenate(places))
