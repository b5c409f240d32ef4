"""Markdown to safe HTML in which every visible character knows where it stands in the source.

Answers of language models are hostile input. No tag, attribute or address of theirs reaches the
page: HTML stays text, links are http(s) only, images become their alternative text, and the HTML is
written here from a short list of tags.

Each visible run of text is `<span data-s="N">`, N the UTF-16 offset of its first unit in the
source. Inside a span the source goes on unit by unit, so a caret at unit k of it points at N + k.
Where source and text part (an escape, an entity, the end of a line), a new span begins.

What is nested too deep for the parser, or would take it too long, is shown as its source, and what
comes after it as ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

_AT = "at"  # in a token's meta: index of its first character in the text it was parsed from
_LINK = re.compile(r"https?://", re.IGNORECASE)
_CONTAINERS = re.compile(r"(?:[ \t]*(?:>|[-+*][ \t]|\d{1,9}[.)][ \t]))*")
_BLANKS = " \t"
_NESTING_MAX = 100  # levels; a list and its item are two
_STEPS, _STEPS_MAX = "steps", 400_000
"""Rules that may be tried for an answer, counted in the parser's environment: seconds at most."""
_ALIGNMENTS = {f"text-align:{s}": f' style="text-align:{s}"' for s in ("left", "center", "right")}
_TAGS = frozenset({"p", "ul", "ol", "li", "blockquote", "em", "strong", "s"}) | frozenset(
    {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
)

_Rule = Callable[[StateInline, bool], bool]


class _TooMuchWorkError(Exception):
    """An answer was made to keep parsers busy."""


def render_markdown(source: str) -> str:
    """Render an answer.

    Args:
        source: Markdown exactly as stored; offsets point into this string.

    Returns:
        HTML without any text outside of `<span data-s>`. A single line break is a `<br>`, as chat
        pages show it.
    """
    writer = _HtmlWriter(source)
    try:
        tokens = _parser().parse(source, {_STEPS: 0})
    except (RecursionError, _TooMuchWorkError):
        writer.lines_as_they_are(0, len(writer.lines))
    else:
        _write_blocks(writer, tokens)
    return writer.html()


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING_MAX})
    parser.enable(["table", "strikethrough"])
    # They join neighbouring texts, whose places in the source need not be neighbours.
    parser.disable(["text_join", "fragments_join"])
    parser.validateLink = lambda url: _LINK.match(url) is not None  # type: ignore[method-assign]
    for block_rule in parser.block.ruler.__rules__:
        block_rule.fn = partial(_counted, block_rule.fn)
    for rule in parser.inline.ruler.__rules__:
        rule.fn = _traced(rule.name, rule.fn)
    deeper = partial(_source_beyond, parser.block.tokenize)
    parser.block.tokenize = deeper  # type: ignore[method-assign]
    # What no rule takes is text, one character at a time.
    parser.inline.ruler.push("character", _traced("character", _character))
    return parser


def _count(env: Any) -> None:
    env[_STEPS] += 1
    if env[_STEPS] > _STEPS_MAX:
        raise _TooMuchWorkError


def _counted(rule: Callable[..., bool], state: StateBlock, *where: Any) -> bool:
    _count(state.env)
    return rule(state, *where)


def _source_beyond(
    tokenize: Callable[[StateBlock, int, int], None], state: StateBlock, first: int, end: int
) -> None:
    """Parse the inside of a block; where the parser would skip it, note which lines it has."""
    if state.level < _NESTING_MAX:
        tokenize(state, first, end)
        return
    line = first
    while line < end and (state.isEmpty(line) or state.sCount[line] >= state.blkIndent):
        line += 1
    state.push("source", "", 0).map = [first, line]
    state.line = line


def _character(state: StateInline, silent: bool) -> bool:
    if not silent:
        state.append_pending(state.src[state.pos])
    state.pos += 1
    return True


def _traced(name: str, rule: _Rule) -> _Rule:
    """Make an inline rule note where the text of its tokens stands."""

    def run(state: StateInline, silent: bool) -> bool:
        _count(state.env)
        start, first = state.pos, len(state.tokens)
        if not rule(state, silent):
            return False
        if silent:
            return True
        if state.pending:
            state.pushPending()
        at = start + (name == "autolink")
        for token in state.tokens[first:]:
            if _AT in token.meta:  # of a rule inside this one, as in the text of a link
                continue
            token.meta[_AT] = at
            if token.type == "text":
                at += len(token.content)
            elif token.type == "text_special" and token.info == "escape":
                token.meta[_AT] = at + (len(token.markup) - len(token.content))
            elif token.type == "code_inline":
                inside = state.src[start : state.pos].replace("\n", " ")
                mark = len(token.markup)
                stripped = len(inside) - 2 * mark - len(token.content)  # a blank at either end
                token.meta[_AT] = start + mark + stripped // 2
            elif token.type == "image":
                token.meta[_AT] = start + 2
        return True

    return run


class _HtmlWriter:
    """Collects HTML; joins runs of text that go on where the last one ended."""

    def __init__(self, source: str) -> None:
        self._parts: list[str] = []
        self._run: list[str] = []
        self._run_start = self._run_end = -1
        # The parser sees every kind of line end as "\n" and NUL as U+FFFD.
        kept = [m.start() for m in re.finditer(r"\r\n|[\s\S]", source)]
        units = [0]
        for char in source:
            units.append(units[-1] + 1 + (char > "\uffff"))
        self._utf16 = [units[i] for i in kept]
        self.source = re.sub(r"\r\n?", "\n", source).replace("\0", "\ufffd")
        self.lines = self.source.split("\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)

    def open(self, tag: str, attributes: str = "") -> None:
        self._end_run()
        self._parts.append(f"<{tag}{attributes}>")

    def close(self, tag: str) -> None:
        self._end_run()
        self._parts.append(f"</{tag}>")

    def text(self, text: str, places: Sequence[int]) -> None:
        """Write characters; `places` are their indices in the normalised source."""
        for char, place in zip(text, places, strict=True):
            at = self._utf16[place]
            if at != self._run_end:
                self._end_run()
                self._run_start = at
            self._run.append(char)
            self._run_end = at + 1 + (char > "\uffff")

    def special(self, text: str, place: int) -> None:
        """Write text that stands for something else in the source, like `&amp;`."""
        self._end_run()
        self._run, self._run_start = [text], self._utf16[place]
        self._end_run()

    def lines_as_they_are(self, first: int, end: int) -> None:
        """Write lines of the source, without a last line end."""
        begin, stop = self.starts[first], self.starts[end] - 1
        self.open("pre")
        self.text(self.source[begin:stop], range(begin, stop))
        self.close("pre")

    def html(self) -> str:
        self._end_run()
        return "".join(self._parts)

    def _end_run(self) -> None:
        if self._run:
            text = escape("".join(self._run))
            self._parts.append(f'<span data-s="{self._run_start}">{text}</span>')
        self._run, self._run_start, self._run_end = [], -1, -1


def _write_blocks(writer: _HtmlWriter, tokens: Sequence[Token]) -> None:
    cells: list[tuple[str, list[int]]] = []
    for token in tokens:
        if token.type == "inline":
            places = cells.pop(0)[1] if cells else _places(writer, token.content, _line_of(token))
            _write_inline(writer, token.children or [], places)
        elif token.type in ("fence", "code_block"):
            first = _line_of(token) + (token.type == "fence")
            code = token.content.removesuffix("\n")
            writer.open("pre")
            writer.open("code")
            writer.text(code, _places(writer, code, first))
            writer.close("code")
            writer.close("pre")
        elif token.type == "source":
            first, end = token.map or (0, 0)
            writer.lines_as_they_are(first, end)
        elif token.type == "hr":
            writer.open("hr")
        elif token.tag in _TAGS and not token.hidden:
            if token.type == "tr_open":
                cells = _cells(writer, _line_of(token), nested=token.level > 2)
            if token.nesting == 1:
                writer.open(token.tag, _attributes(token))
            else:
                writer.close(token.tag)
            if token.type == "tr_close":
                cells = []


def _line_of(token: Token) -> int:
    assert token.map is not None
    return token.map[0]


def _attributes(token: Token) -> str:
    if token.tag == "ol" and isinstance(start := token.attrGet("start"), int):
        return f' start="{start}"'
    return _ALIGNMENTS.get(str(token.attrGet("style")), "")


def _places(writer: _HtmlWriter, content: str, first_line: int) -> list[int]:
    """Return where each character of `content` stands; its lines are tails of the source's."""
    if not content:  # as of a fence that opens on the last line
        return []
    places: list[int] = []
    for number, part in enumerate(content.split("\n"), first_line):
        line, start = writer.lines[number], writer.starts[number]
        body = part.lstrip(_BLANKS)
        tail = line if line.endswith(part) else line.rstrip(_BLANKS)
        if not tail.endswith(body):  # a heading may close with number signs
            tail = tail.rstrip("#").rstrip(_BLANKS)
        column = len(tail) - len(body)
        # Blanks before the body may stand for a part of a tab.
        indent = len(part) - len(body)
        places.extend(start + max(0, column - indent + i) for i in range(indent))
        places.extend(range(start + column, start + column + len(body)))
        places.append(start + len(line))
    places.pop()
    return places


def _cells(writer: _HtmlWriter, number: int, *, nested: bool) -> list[tuple[str, list[int]]]:
    """Return text and places of each cell of a table's row, in the way the parser splits it."""
    line, start = writer.lines[number], writer.starts[number]
    begin = _CONTAINERS.match(line).end() if nested else 0  # type: ignore[union-attr]
    end = len(line.rstrip(_BLANKS))
    begin += len(line[begin:end]) - len(line[begin:end].lstrip(_BLANKS))
    cells: list[list[int]] = [[]]
    for at in range(begin, end):
        if line[at] != "|":
            cells[-1].append(at)
        elif at > begin and line[at - 1] == "\\":
            cells[-1][-1] = at  # the backslash is not part of the cell
        else:
            cells.append([])
    cells = cells[not cells[0] :]
    if cells and not cells[-1]:
        cells.pop()
    trimmed = []
    for cell in cells:
        while cell and line[cell[0]] in _BLANKS:
            del cell[0]
        while cell and line[cell[-1]] in _BLANKS:
            del cell[-1]
        trimmed.append(("".join(line[at] for at in cell), [start + at for at in cell]))
    return trimmed


def _write_inline(writer: _HtmlWriter, tokens: Sequence[Token], places: Sequence[int]) -> None:
    for token in tokens:
        at: int = token.meta.get(_AT, 0)
        if token.type == "text":
            writer.text(token.content, places[at : at + len(token.content)])
        elif token.type == "text_special":
            writer.special(token.content, places[at])
        elif token.type == "code_inline":
            writer.open("code")
            writer.text(token.content, places[at : at + len(token.content)])
            writer.close("code")
        elif token.type in ("softbreak", "hardbreak"):
            writer.open("br")
        elif token.type == "image":
            _write_inline(writer, token.children or [], places[at:])
        elif token.type == "link_open":
            address = escape(str(token.attrGet("href")))
            rel = "noopener noreferrer nofollow"
            writer.open("a", f' href="{address}" target="_blank" rel="{rel}"')
        elif token.type == "link_close":
            writer.close("a")
        elif token.tag in _TAGS:
            if token.nesting == 1:
                writer.open(token.tag)
            else:
                writer.close(token.tag)
