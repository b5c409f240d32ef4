"""`make rendered-test`: the answers of the release through the parsers of real chat pages.

    python -m tests.data.rendered.marked_run [--freeze]

Open WebUI renders with marked 9, Gradio with marked 12: npm fetches both into a temporary folder.
Each page's text is aligned by hash alone, as the reader of sessions does it, and where the hash
does not fit by runs, as a browser would find them that has the Markdown. `$IFLLM_RELEASE` is read.
With `--freeze` the hashes of a hundred answers are written anew, which the suite compares with.
"""

from __future__ import annotations

import csv
import difflib
import json
import os
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt
from numpy.typing import NDArray

from ifllm_hf.data.rendered.page_alignment import PageAlignment, align_by_runs, align_page
from ifllm_hf.data.rendered.page_text import (
    page_hash,
    predicted_text,
    units,
    without_blanks,
)
from ifllm_hf.files import digest

FROZEN = Path(__file__).with_name("marked_hashes.csv")
MARKED = {"marked 9.1.6 (Open WebUI)": "9.1.6", "marked 12.0.2 (Gradio)": "12.0.2"}
_FROZEN_ANSWERS = 100
_PARTS = ("sha256", "units")
_RENDER = """
const fs = require("fs");
const answers = JSON.parse(fs.readFileSync("answers.json", "utf8"));
import("marked").then(({marked}) => {
  const options = {gfm: true, breaks: true};
  fs.writeFileSync("pages.json", JSON.stringify(answers.map(a => marked.parse(a, options))));
});
"""


class _Texts(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page_text(html: str) -> str:
    """Return what a page counts of its text nodes."""
    return without_blanks("".join(_Texts(html).texts))


def runs_of(markdown: str, shown: str) -> list[list[int]]:
    """Return the runs that a browser finds: by difflib on what our own renderer shows."""
    expected = predicted_text(markdown)
    there, here = units(expected.text).tolist(), units(shown).tolist()
    runs: list[list[int]] = []
    for first, second, n in difflib.SequenceMatcher(
        None, there, here, autojunk=False
    ).get_matching_blocks():
        places = expected.places[first : first + n]
        for begin in [0, *(np.flatnonzero(np.diff(places) != 1) + 1)] if n else ():
            later = np.flatnonzero(np.diff(places[begin:]) != 1)
            length = int(later[0]) + 1 if later.size else n - int(begin)
            runs.append([second + int(begin), int(places[begin]), length])
    return runs


def wrong(markdown: str, shown: str, found: PageAlignment) -> int:
    """Count units whose place holds another character, and no entity or escape of it."""
    source, page = units(markdown), units(shown)
    mapped = found.places >= 0
    there = source[found.places[mapped]]
    return int(((there != page[mapped]) & (there != ord("&"))).sum())


def through_marked(answers: list[str], version: str, place: Path) -> list[str]:
    """Return the pages that a version of marked makes of answers."""
    place.mkdir()
    quiet = ["npm", "install", "--silent", "--no-audit", "--no-fund", f"marked@{version}"]
    subprocess.run(quiet, cwd=place, check=True)
    (place / "answers.json").write_text(json.dumps(answers))
    (place / "render.cjs").write_text(_RENDER)
    subprocess.run(["node", "render.cjs"], cwd=place, check=True, stderr=subprocess.DEVNULL)
    pages: list[str] = json.loads((place / "pages.json").read_text())
    return pages


def through_markdown_it(answers: list[str]) -> list[str]:
    """Return the pages of markdown-it-py as it comes, with tables and line breaks."""
    parser = MarkdownIt("js-default", {"breaks": True})
    return [parser.render(answer) for answer in answers]


def release_answers() -> list[str]:
    """Return the answers of the release at `$IFLLM_RELEASE`."""
    from ifllm_hf.data.release import open_release

    turns = open_release(os.environ["IFLLM_RELEASE"]).turns
    return [a for side in "ab" for a in turns[f"response_{side}"].to_list() if a]


def report(name: str, answers: list[str], pages: list[str]) -> tuple[str, bool]:
    """Return a line on one parser, and whether nothing was mapped wrongly."""
    total = by_hash = by_runs = equal = faults = 0
    for answer, page in zip(answers, pages, strict=True):
        shown = page_text(page)
        n = len(units(shown))
        total += n
        found = align_page(answer, page_hash(shown), n)
        if isinstance(found, PageAlignment):
            equal += 1
            by_hash += n
        else:
            found = align_by_runs(answer, n, digest(answer), runs_of(answer, shown))
            assert isinstance(found, PageAlignment), found
        mapped: NDArray[np.bool_] = found.places >= 0
        by_runs += int(mapped.sum())
        faults += wrong(answer, shown, found)
    said = (
        f"{name}: {equal} of {len(answers)} answers by hash, {by_hash / total:.5f} of "
        f"{total} visible characters; with runs {by_runs / total:.5f}; wrong {faults}"
    )
    return said, not faults and by_runs / total >= 0.995


def freeze(answers: list[str], pages: dict[str, list[str]]) -> None:
    """Write the hashes of pages of some answers, spread evenly."""
    step = len(answers) // _FROZEN_ANSWERS
    chosen = range(0, step * _FROZEN_ANSWERS, step)
    with FROZEN.open("w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            ["answer", *(f"{part}_{v.split('.')[0]}" for v in MARKED.values() for part in _PARTS)]
        )
        for i in chosen:
            shown = [page_text(pages[name][i]) for name in MARKED]
            cells = [cell for text in shown for cell in (page_hash(text), len(units(text)))]
            writer.writerow([digest(answers[i]), *cells])


def main() -> int:
    """Print a line for each parser; return 1 where one is worse than it should be."""
    answers = release_answers()
    good = True
    pages = {"markdown-it-py": through_markdown_it(answers)}
    with tempfile.TemporaryDirectory() as folder:
        for name, version in MARKED.items():
            pages[name] = through_marked(answers, version, Path(folder) / version)
    for name, of_parser in pages.items():
        line, fine = report(name, answers, of_parser)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
        good &= fine
    blank = sum("```cpp" in answer for answer in answers)
    sys.stdout.write(f"Gradio shows nothing of {blank} of them, which hold a block of cpp\n")
    if "--freeze" in sys.argv:
        freeze(answers, pages)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
