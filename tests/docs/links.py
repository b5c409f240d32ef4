"""Ask for every page that docs/, README and the cards link to: `make links`; needs a network."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
_URL = re.compile(r"https?://[^\s<>\"'`)\]]+")
_MADE_UP = re.compile(r"localhost|127\.0\.0\.1|example\.(org|com)|\bORG\b|[{}…$]")
_ALIVE = (401, 403, 405, 429)  # there, but not for a script


def linked() -> dict[str, set[str]]:
    """Return the addresses in our pages that are not made up, with where they stand."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.py")]
    found: dict[str, set[str]] = defaultdict(set)
    for page in [*pages, *(ROOT / "dataset_card").glob("*.md"), *ROOT.glob("ifllm_hf/**/*.md")]:
        for url in _URL.findall(page.read_text(encoding="utf-8")):
            if not _MADE_UP.search(url):
                found[url.rstrip(".,;:*")].add(page.relative_to(ROOT).as_posix())
    return found


def answer(url: str) -> int | None:
    """Return the status of a page after redirects; None: nobody answers."""
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=20) as response:
            return response.status_code
    except httpx.HTTPError:
        return None


def main() -> int:
    """Print each link that leads nowhere; 1 if there is one, 0 also without a network."""
    places = linked()
    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(places, pool.map(answer, places), strict=True))
    if not any(answers.values()):
        sys.stderr.write(f"skipped: none of {len(places)} pages answers; there is no network\n")
        return 0
    dead = {u: s for u, s in answers.items() if s is None or (s >= 400 and s not in _ALIVE)}
    for url, status in sorted(dead.items()):
        sys.stdout.write(f"{url} ({status or 'no answer'}): {', '.join(sorted(places[url]))}\n")
    sys.stderr.write(f"{len(places) - len(dead)} of {len(places)} links lead to a page\n")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
