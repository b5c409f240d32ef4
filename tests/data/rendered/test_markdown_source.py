"""Every visible character knows its place in the source, and nothing hostile gets through."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ifllm_hf.data.rendered.markdown_source import render_markdown

ALLOWED = {"span", "p", "br", "hr", "ul", "ol", "li", "blockquote", "pre", "code", "a"}
ALLOWED |= {"em", "strong", "s", "table", "thead", "tbody", "tr", "th", "td"}
ALLOWED |= {f"h{level}" for level in range(1, 7)}


class Page(HTMLParser):
    """Text runs with their offsets, tags and attributes of a page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.runs: list[tuple[int, str]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._at = -1
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "span":
            self._at = int(dict(attrs)["data-s"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "span":
            self._at = -1

    def handle_data(self, data: str) -> None:
        self.runs.append((self._at, data))

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.runs)


def faults(source: str, page: Page) -> list[str]:
    """Return every run that is unmapped or whose source differs."""
    units = source.encode("utf-16-le", "surrogatepass")
    found = []
    for at, text in page.runs:
        there = units[2 * at : 2 * (at + _units(text))].decode("utf-16-le", "surrogatepass")
        there = there.replace("\0", "\ufffd")
        # A line break or a part of a tab may be shown as a blank; an entity is a run of its own.
        same = re.sub(r"\s", " ", there) == re.sub(r"\s", " ", text)
        entity = there.startswith("&")
        if at < 0 or not (same or entity):
            found.append(f"{at}: shown {text!r}, stored {there!r}")
    return found


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("plain", [(0, "plain")]),
        ("**bold** end", [(2, "bold"), (8, " end")]),
        ("# Title #\n\ntext", [(2, "Title"), (11, "text")]),
        ("one\ntwo", [(0, "one"), (4, "two")]),
        ("one\r\ntwo", [(0, "one"), (5, "two")]),
        ("- a\n- b\n  more", [(2, "a"), (6, "b"), (10, "more")]),
        ("> quoted\nlazy", [(2, "quoted"), (9, "lazy")]),
        ("🙂 *x*", [(0, "🙂 "), (4, "x")]),
        (r"1 \* 2", [(0, "1 "), (3, "*"), (4, " 2")]),
        ("a &amp; b", [(0, "a "), (2, "&"), (7, " b")]),
        ("`` a`b ``", [(3, "a`b")]),
        ("a * b", [(0, "a * b")]),
        ("**open", [(0, "**open")]),
        ("[text](https://x.org)!", [(1, "text"), (21, "!")]),
        ("<https://x.org>", [(1, "https://x.org")]),
        ("![alt **x**](https://x.org/i.png)", [(2, "alt "), (8, "x")]),
        ("~~gone~~", [(2, "gone")]),
        ("```py\na = 1\n  b\n```", [(6, "a = 1\n  b")]),
        ("    code\n\n    more", [(4, "code"), (8, "\n"), (9, "\n"), (14, "more")]),
        ("|a|b|\n|-|-|\n| 1 | x\\|y |", [(1, "a"), (3, "b"), (14, "1"), (18, "x"), (20, "|y")]),
        ("> |a|b|\n> |-|-|\n> |c|d|", [(3, "a"), (5, "b"), (19, "c"), (21, "d")]),
    ],
)
def test_runs_stand_where_the_source_has_them(source: str, runs: list[tuple[int, str]]) -> None:
    page = Page(render_markdown(source))
    joined: list[tuple[int, str]] = []
    for at, text in page.runs:  # a code block may be cut anywhere
        if joined and joined[-1][0] + _units(joined[-1][1]) == at and "\n" not in text + source:
            joined[-1] = (joined[-1][0], joined[-1][1] + text)
        else:
            joined.append((at, text))
    assert "".join(t for _, t in joined) == "".join(t for _, t in runs)
    places = {at + i: c for at, text in joined for i, c in enumerate(text)}
    assert places == {at + i: c for at, text in runs for i, c in enumerate(text)}
    assert not faults(source, page)


PIECES = st.sampled_from(
    ["\n", "\n\n", "\r\n", "\t", " ", "\0", "\u200b", "https://x.org", "|-|-|", "&lt;", "&#65;"]
    + ["**", "~~", "``", "](", "##", "- ", "1. ", "![", "```", "---", "cd", "<b>", "<!--"]
    + list("*_`[])\\&#>|<!$:abé日🙂")
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=40).map("".join))
@example("|a|\n|-|\n|\\||")
@example("- \t a\n\t- b")
@example(">\t\tcode")
def test_any_markdown_is_mapped_and_loses_no_character(source: str) -> None:
    page = Page(render_markdown(source))
    assert not faults(source, page)
    assert {tag for tag, _ in page.tags} <= ALLOWED
    plain = MarkdownIt("commonmark", {"html": False, "maxNesting": 100})
    plain.enable(["table", "strikethrough"])
    plain.validateLink = lambda url: url.lower().startswith(("https://", "http://"))  # type: ignore[method-assign]
    rendered = Page(plain.render(source))
    alternatives = "".join(a.get("alt") or "" for tag, a in rendered.tags if tag == "img")
    ours, theirs = (sorted("".join(t.split())) for t in (page.text, rendered.text + alternatives))
    assert ours == theirs


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '<a href="javascript:alert(1)">x</a>',
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x) [y](file:///etc/passwd) [z](//evil.example)",
        '[x](https://a.org/"onmouseover="alert(1))',
        '[x](https://a.org "t\\" onclick=\\"alert(1)")',
        "![x](https://evil.example/pixel.png)",
        "![x](javascript:alert(1))",
        "<svg/onload=alert(1)>",
        '<iframe srcdoc="<script>alert(1)</script>">',
        "```html\n<script>alert(1)</script>\n```",
        "</span></div><script>alert(1)</script>",
        '"><span data-s="0" onclick="x">',
        "<style>*{display:none}</style>",
        "[ref]\n\n[ref]: javascript:alert(1)",
    ],
)
def test_nothing_hostile_gets_through(source: str) -> None:
    page = Page(render_markdown(source))
    assert {tag for tag, _ in page.tags} <= ALLOWED
    for tag, attributes in page.tags:
        allowed = {"span": {"data-s"}, "a": {"href", "target", "rel"}, "ol": {"start"}}
        assert set(attributes) <= allowed.get(tag, {"style"})
        if tag == "a":
            assert (attributes["href"] or "").startswith("https://")
    assert not faults(source, page)


@pytest.mark.parametrize(
    "unit", ["[", "![", "> ", "- ", "*", "`", "\\", "&", "<", "|a\n|-\n", "**a*"]
)
def test_long_and_deep_input_is_shown_in_time(unit: str) -> None:
    source = unit * 3000
    page = Page(render_markdown(source))
    assert not faults(source, page)


def test_every_answer_of_the_release(prepared_release: Path) -> None:
    import polars as pl

    from ifllm_hf.data.prepared.folder import config_files

    files = [f for kind in ("pairwise", "pointwise") for f in config_files(prepared_release, kind)]
    turns = pl.scan_parquet(files).select("response_a", "response_b").collect()
    answers = [a for a in (*turns["response_a"], *turns["response_b"]) if a]
    assert len(answers) == 2512
    for answer in answers:
        html = render_markdown(answer)
        page = Page(html)
        assert not faults(answer, page)
        starts = [at for at, _ in page.runs]
        assert starts == sorted(starts)


LEVELS = (10, 49, 50, 60, 120)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(
    "make",
    [
        lambda n: "> " * n,
        lambda n: ">" * n,
        lambda n: "- " * n,
        lambda n: "1. " * n,
        lambda n: "> - " * n,
        lambda n: "".join("  " * level + f"- in{level}\n" for level in range(n)) + "  " * n,
    ],
)
def test_what_is_nested_too_deep_is_shown_as_its_source(make: Any, levels: int) -> None:
    source = make(levels) + "**deep** 🙂 words\n\nafter it *all*"
    page = Page(render_markdown(source))
    assert faults(source, page) == []
    words = [f"in{level}" for level in range(levels)] if "in0" in source else []
    for word in [*words, "deep", "🙂 words", "after it"]:
        assert word in page.text, f"{word} is not shown"
    assert "em" in [tag for tag, _ in page.tags], "what comes after it is no Markdown any more"
    assert "**deep**" not in page.text or levels > 10


@pytest.mark.parametrize("levels", [30, 99, 200])
def test_deep_links_images_and_tables_lose_no_word(levels: int) -> None:
    table = "> " * levels + "a|b\n" + "> " * levels + "-|-\n" + "> " * levels + "left|right\n"
    for source in (
        "[" * levels + "word" + "](http://x.example)" * levels + "\n\nafter",
        "![" * levels + "word" + "](http://x.example)" * levels + "\n\nafter",
        "*" * levels + "word" + "*" * levels + "\n\nafter",
        table + "\nafter word",
    ):
        page = Page(render_markdown(source))
        assert faults(source, page) == []
        assert "word" in page.text and "after" in page.text


@pytest.mark.parametrize(
    "piece", ["[", "![", "[a](", "*a", "*_", "`a``", "<a ", "> ", "- ", "- a\n", "a|b\n-|-\n", "|a"]
)
def test_hostile_length_takes_bounded_work(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time is what a machine makes of it; the steps are bounded, and the words are shown."""
    from ifllm_hf.data.rendered import markdown_source

    monkeypatch.setattr(markdown_source, "_STEPS_MAX", 20_000)
    steps: list[int] = []
    count = markdown_source._count

    def counting(env: dict[str, int]) -> None:
        steps.append(1)
        count(env)

    monkeypatch.setattr(markdown_source, "_count", counting)
    source = piece * (30_000 // len(piece)) + "\n\nlast words"
    page = Page(render_markdown(source))
    assert len(steps) <= 20_001
    assert faults(source, page) == []
    assert "last words" in page.text
