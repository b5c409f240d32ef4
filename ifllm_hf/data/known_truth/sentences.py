"""What an answer says, sentence by sentence: to text and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


# What can be true of a town, by attribute. No word stands in two places.
VALUES = {
    "river": _words("Orla Tamber Isk Wend Lune Sarn Brede Calder Nith Avel Doran Ure"),
    "mayor": _words("Ada Boris Clara Dmitri Elsa Fergus Greta Hugo Ines Jonas Katya Leo"),
    "bread": _words("rye oat barley corn spelt millet rice potato walnut honey onion poppy"),
    "bird": _words("heron finch owl crane gull raven wren stork swift robin lark kite"),
    "tree": _words("oak elm birch pine cedar willow maple ash larch alder hazel yew"),
    "craft": _words("rope glass clay silk paper iron lace salt copper leather wool wax"),
    "colour": _words("red blue green white black gold violet grey orange brown pink teal"),
    "dance": _words("waltz polka jig reel tango galop minuet bolero gavotte rumba samba foxtrot"),
}
FILLERS = (
    "Thank you for asking.",
    "That is a fine question.",
    "Many visitors like this town.",
    "There is much to tell.",
    "I hope this helps.",
    "Let me think about it.",
    "Every town has its own story.",
    "Please ask me more.",
)
_STATEMENT = re.compile(r"The (\w+) is (\w+)\.")
_SENTENCE = re.compile(r"[^.]*\.|[^.]+\Z")


@dataclass(frozen=True)
class Statement:
    """Says that an attribute of the town has a value, both of `VALUES`."""

    attribute: str
    value: str


@dataclass(frozen=True)
class Filler:
    """Says nothing, in one of `FILLERS`."""

    text: str


@dataclass(frozen=True)
class Nonsense:
    """A sentence that nobody understands, white space in it collapsed."""

    text: str


Item = Statement | Filler | Nonsense


def render_answer(items: Sequence[Item]) -> str:
    """Write the text of an answer.

    >>> render_answer([Statement("river", "Isk"), Filler("I hope this helps.")])
    'The river is Isk. I hope this helps.'
    """
    return " ".join(
        f"The {item.attribute} is {item.value}." if isinstance(item, Statement) else item.text
        for item in items
    )


def parse_answer(text: str) -> list[Item]:
    """Read an answer sentence by sentence; whatever is not understood is `Nonsense`.

    A sentence ends with a full stop; what follows the last one is a sentence too. White space does
    not matter, everything else does.

    >>> parse_answer("The river is Isk. The bird is Isk. The tree")
    [Statement(attribute='river', value='Isk'), Nonsense(text='The bird is Isk.'), \
Nonsense(text='The tree')]
    """
    collapsed = " ".join(text.split())
    return [_item(part) for found in _SENTENCE.findall(collapsed) if (part := found.strip())]


def _item(sentence: str) -> Item:
    if sentence in FILLERS:
        return Filler(sentence)
    found = _STATEMENT.fullmatch(sentence)
    if found and found[2] in VALUES.get(found[1], ()):
        return Statement(found[1], found[2])
    return Nonsense(sentence)
