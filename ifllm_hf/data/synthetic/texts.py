"""Made-up questions and answers: Markdown, quotes, commas, lists and the odd emoji.

Every word comes from the small vocabulary below; no sentence is about anything.
"""

from __future__ import annotations

import re

import numpy as np

TOPICS = (
    "Lanterns of Velmoor",
    "Salt barges",
    "Paper kites (craft)",
    "The Orlin ferry",
    "Glass orchards",
    "Copper bells",
    "Night gardens",
    "Wind ledgers",
    "The Tamber bridge",
    "Clay clocks",
    "River maps",
    "Amber looms",
)

LLM_NAMES = (
    "made-up/Basalt-V3",
    "plume-mini",
    "made-up/Cobalt-70B-Instruct-Turbo",
    "verse-4-20990101",
)

ERROR_ANSWER = (
    "AI Error. Please report to nobody@example.com with the following: "
    "{'code': 503, 'message': null, 'model': made-up/Basalt-V3}"
)

# One long string rather than a list of 165 lines.
_VOCABULARY = """
    lantern harbour copper meadow ledger quiet river amber winter summer bridge orchard
    market keeper garden signal weather pattern colour measure bright narrow heavy simple early
    steady gentle hollow common distant carries follows gathers returns changes explains protects
    supports divides connects reaches produces slowly often rarely usually nearly always through
    across between around under beside without because although while where which their other
    every several many small large later history record craft trade season village island coast
    mountain valley forest stone timber paper glass cotton engine wheel water light shadow sound
    story festival custom kitchen bread honey pepper salt school teacher letter number question
    answer reason method effect result example detail feature problem balance journey border
    moment century morning evening people family worker traveller builder painter sailor farmer
    the of and in to a with for on from by as at its is was are were has
"""
_WORDS = np.array(_VOCABULARY.split(), dtype=object)
_QUESTION_STARTS = (
    "what is",
    "How does",
    "Why was",
    "When did",
    "Can you explain",
    "Which part of",
    "Who looked after",
    "How has",
)
_EMOJI = ("😀", "🚀", "🌿", "🎐", "🧭")


def make_prompt(rng: np.random.Generator, topic: str) -> str:
    """Return one made-up question of 5 to 15 words about `topic`."""
    words = " ".join(rng.choice(_WORDS, int(rng.integers(2, 10))))
    start = _QUESTION_STARTS[int(rng.integers(len(_QUESTION_STARTS)))]
    end = "?" if rng.random() < 0.7 else ""
    comma = "," if rng.random() < 0.3 else ""
    return f"{start} {topic}{comma} {words}{end}"


def make_answer(rng: np.random.Generator, chars: int, *, bullets: bool) -> str:
    """Return a made-up answer in Markdown.

    Args:
        rng: Source of randomness.
        chars: Rough length wanted, in characters.
        bullets: Whether the answer is a list, as after the bullet-point suffix.

    Returns:
        Text without blank lines and without blanks at either end.
    """
    words = rng.choice(_WORDS, chars // 6 + 12).tolist()
    lines: list[str] = []
    total, used, item = 0, 0, 0
    while total < chars and used < len(words) - 4:
        take = int(rng.integers(5, 18 if bullets else 45))
        part = words[used : used + take]
        used += take
        line = _decorate(part, rng)
        shape = rng.random()
        if bullets or shape < 0.35:
            item += 1
            mark = "- " if bullets else f"{item}. "
            if shape < 0.5:
                line = f"**{part[0].capitalize()} {part[-1]}**: {line}"
            line = mark + line
        elif shape < 0.45:
            line = "### " + " ".join(part[:5]).title()
        lines.append(line)
        total += len(line) + 1
    return "\n".join(lines).strip()


def _decorate(words: list[str], rng: np.random.Generator) -> str:
    """Join words into a sentence with the characters that derail CSV readers."""
    style = rng.random(4)
    words = list(words)
    if style[0] < 0.45 and len(words) > 5:
        at = int(rng.integers(1, len(words) - 3))
        words[at] = f'"{words[at].capitalize()}'
        words[at + 1] = words[at + 1] + ('",' if style[1] < 0.4 else '"')
    if style[1] < 0.6 and len(words) > 8:
        words[3] += ","
    if style[2] < 0.2 and len(words) > 6:
        words[2] = f"({words[2]})"
    if style[3] < 0.04:
        words[-1] += " " + _EMOJI[int(style[0] * 1000) % len(_EMOJI)]
    words[0] = words[0].capitalize()
    return " ".join(words) + "."


def with_windows_line_ends(answer: str) -> str:
    """Return the answer with CRLF line ends, as 28 stored answers of the release have."""
    return answer.replace("\n", "\r\n")


def with_blank_lines(answer: str) -> str:
    """Return the answer with blank lines and outer blanks that the page does not show."""
    return " " + answer.replace("\n", "\n \n", 2).replace("\n", "\n\n", 1) + "\n"


_BLANK_LINES = re.compile(r"\n\s*\n")


def displayed(stored: str) -> tuple[str, list[int]]:
    """Return the text that the page shows for a stored answer, and where each character is from.

    Args:
        stored: The answer as the query log has it.

    Returns:
        The shown text (outer blanks trimmed, blank lines collapsed), and for each of its characters
        and for its end the index (code points) into `stored`.
    """
    start = len(stored) - len(stored.lstrip())
    core = stored.strip()
    parts: list[str] = []
    source: list[int] = []
    last = 0
    for match in _BLANK_LINES.finditer(core):
        parts += [core[last : match.start()], "\n"]
        source += range(start + last, start + match.start() + 1)
        last = match.end()
    parts.append(core[last:])
    source += range(start + last, start + len(core) + 1)
    return "".join(parts), source
