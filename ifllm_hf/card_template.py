"""Fills a Markdown template so that a sentence without its number disappears.

`{{name}}` or `{{name:spec}}` stands for a value; `spec` is Python's format, `,` by default for
whole numbers. A value of None removes the smallest unit it stands in: a paragraph, an item of a
list, or, in a heading, the whole section. A heading whose section has lost everything goes too.
So prose and numbers cannot come apart: what was not measured is not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"\{\{(\w+)(?::([^{}]*))?\}\}")
_HEADING = re.compile(r"(#{1,6}) ")
_ITEM = re.compile(r"(?:[-*]|\d+\.) ")


def fill(template: str, values: Mapping[str, Any]) -> str:
    """Return the text of `template` with its values.

    Args:
        template: Markdown with `{{name:spec}}` in it; code between fences may hold them too.
        values: By name; None removes what would say it, an empty string only marks a condition.

    Raises:
        KeyError: The template names a value that is not in `values` (a defect of the caller).
    """
    kept: list[str] = []
    cut_level = 0  # of the heading whose section is being left out
    for unit in _units(template):
        heading = _HEADING.match(unit)
        level = len(heading.group(1)) if heading else 0
        if level and level <= cut_level:
            cut_level = 0
        text = None if cut_level else _filled(unit, values)
        if text is not None:
            kept.append(text)
            continue
        if level and not cut_level:
            cut_level = level
        if kept and unit.endswith("\n") and not kept[-1].endswith("\n"):
            kept[-1] += "\n"  # the last item of a list went, the blank line behind it stays
    return "\n".join(_without_bare_headings(kept)).strip("\n") + "\n"


def _units(template: str) -> list[str]:
    """Cut a text into headings, items and paragraphs; each keeps the blank lines behind it."""
    units: list[list[str]] = []
    fenced = False
    fresh = True
    for line in template.splitlines():
        starts = not fenced and (fresh or _HEADING.match(line) or _ITEM.match(line))
        if starts and line.strip():
            units.append([])
        if not units:
            continue
        units[-1].append(line)
        if line.lstrip().startswith("```"):
            fenced = not fenced
        fresh = not fenced and not line.strip()
    return ["\n".join(unit) for unit in units]


def _filled(unit: str, values: Mapping[str, Any]) -> str | None:
    names = [match.group(1) for match in _PLACE.finditer(unit)]
    if any(values[name] is None for name in names):
        return None
    text = _PLACE.sub(lambda m: _formatted(values[m.group(1)], m.group(2)), unit)
    # A unit that holds nothing but a condition leaves no empty line behind.
    return text if text.strip() or not names else None


def _formatted(value: Any, spec: str | None) -> str:
    if spec is None:
        spec = "," if isinstance(value, int) and not isinstance(value, bool) else ""
    return format(value, spec)


def _without_bare_headings(units: list[str]) -> list[str]:
    """Drop headings that nothing follows before the next one of the same or a higher level."""
    out: list[str] = []
    below = 0  # level of the heading that comes next in the text; 0 at the end
    bare = True
    for unit in reversed(units):
        heading = _HEADING.match(unit)
        level = len(heading.group(1)) if heading else 0
        if heading and bare and (below == 0 or below <= level):
            continue
        bare = heading is not None
        below = level
        out.append(unit)
    return out[::-1]
