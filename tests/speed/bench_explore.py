"""Explore in a real browser: how long the page and a turn take to appear, a moment to be drawn.

Uses the real release where `$IFLLM_RELEASE` names it, else made-up data. The turn is the one with
the longest answers among those with behaviour.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Row, release, row

APP = Path(__file__).parents[2] / "spaces" / "app.py"
SIZES = {"1440 px": (1440, 900), "390 px": (390, 844)}
FIRST = tuple(f"explore: first answer shown, {name} wide (median)" for name in SIZES)
NAMES = (
    "explore: server time of a turn",
    "explore: a turn appears after a click (median)",
    "explore: drawing a turn in the browser",
    "explore: repaint of a moment (median)",
    "explore: repaint of a moment (95 %)",
)
SHOWN = "document.querySelector('.ifllm-explore')?.dataset.query"
# From the call until the pixels are there: reading one back waits for all that was drawn.
REPAINT = """async () => {
  const replay = document.querySelector('.ifllm-explore').replay;
  const times = [];
  for (let i = 0; i < 80; i++) {
    const began = performance.now();
    replay.seek(replay.end * ((i * 37) % 80) / 80);
    for (const layer of replay.layers) layer.canvas.getContext('2d').getImageData(0, 0, 1, 1);
    times.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  times.sort((x, y) => x - y);
  return [times[40], times[76]];
}"""


def main() -> list[Row]:
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        return [row(name, None, note="no Chromium here") for name in (*NAMES, *FIRST)]
    with tempfile.TemporaryDirectory() as place:
        folder = _prepared(Path(place) / "ifllm")
        server_s, chars = _server_time(folder)
        with _app(folder) as url:
            appear_s, draw_ms, repaint = _in_browser(url, browser_path, folder)
            first = _first_screen(url, browser_path)
    note = f"{chars} characters in both answers"
    return [
        row(NAMES[0], server_s * 1000, "ms", note=note),
        row(NAMES[1], appear_s, "s", target=1.5, note="8 clicks on Next turn"),
        row(NAMES[2], draw_ms, "ms", note="of the last of them"),
        row(NAMES[3], repaint[0], "ms", target=20, note=note),
        row(NAMES[4], repaint[1], "ms", target=20, note="pixels read back, so all is drawn"),
        *first,
    ]


def _prepared(out: Path) -> Path:
    from ifllm_hf.data.prepared.prepare import prepare, prepare_synthetic

    if release() is not None:
        prepare(release(), out, progress=False)
    else:
        prepare_synthetic(24, out, progress=False)
    return out


def _longest(folder: Path) -> tuple[int, int]:
    import polars as pl

    from ifllm_hf.data.prepared.folder import config_files

    chars = pl.col("response_a").str.len_chars() + pl.col("response_b").str.len_chars()
    found = (
        pl.scan_parquet(config_files(folder, "pairwise"))
        .filter(pl.col("t_ms").list.len() > 500)
        .select("query_id", chars.alias("chars"))
        .collect()
        .sort("chars", "query_id")
        .row(-1)
    )
    return int(found[0]), int(found[1])


def _server_time(folder: Path) -> tuple[float, int]:
    sys.path.insert(0, str(APP.parent))
    from ifllm_space.demo_data import open_demo_data
    from ifllm_space.explore.tab import view_of

    data = open_demo_data(folder)
    query_id, chars = _longest(folder)
    view_of(data, query_id)  # features are computed once, when the app starts
    began = time.perf_counter()
    view_of(data, query_id)
    return time.perf_counter() - began, chars


@contextlib.contextmanager
def _app(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(APP), "--data", str(folder), "--port", str(port)]
    process = subprocess.Popen(command, cwd=folder.parent)
    url = f"http://localhost:{port}/"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(url):
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait()


def _in_browser(url: str, browser_path: str, folder: Path) -> tuple[float, float, Any]:
    from playwright.sync_api import sync_playwright

    from ifllm_space.demo_data import open_demo_data
    from ifllm_space.explore.tab import view_of

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page.goto(url)
        page.wait_for_function(f"{SHOWN} !== undefined", timeout=60_000)
        times = []
        for _ in range(8):
            before = page.evaluate(SHOWN)
            began = time.perf_counter()
            page.get_by_role("button", name="Next turn").first.click()
            page.wait_for_function(f"{SHOWN} !== '{before}'", polling=10)
            times.append(time.perf_counter() - began)
        draw_ms = float(page.evaluate(SHOWN.removesuffix("query") + "drawnMs"))
        view = view_of(open_demo_data(folder), _longest(folder)[0])
        page.evaluate(
            """async (value) => {
              const { show } = await import(new URL('page/explore/explore.js', document.baseURI));
              show(document.querySelector('.ifllm-explore').parentElement, value);
            }""",
            view,
        )
        repaint = page.evaluate(REPAINT)
        browser.close()
    return sorted(times)[len(times) // 2], draw_ms, repaint


def _first_screen(url: str, browser_path: str) -> list[Row]:
    """From the address to the first answer on the screen, in a browser that has nothing stored."""
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    rows = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        for name, (width, height) in zip(FIRST, SIZES.values(), strict=True):
            times, received = [], [0]
            for _ in range(5):
                context = browser.new_context(viewport={"width": width, "height": height})
                page = context.new_page()
                session = context.new_cdp_session(page)
                session.send("Network.enable")
                sizes: list[float] = []
                session.on(
                    "Network.loadingFinished", lambda e, s=sizes: s.append(e["encodedDataLength"])
                )
                began = time.perf_counter()
                page.goto(url, wait_until="commit")
                page.wait_for_function(f"{SHOWN} !== undefined", polling=10, timeout=60_000)
                times.append(time.perf_counter() - began)
                page.wait_for_timeout(1000)  # a heartbeat never ends, so no network is idle
                received.append(int(sum(sizes)))
                context.close()
            note = f"5 fresh profiles, {max(received) / 1000:.0f} kB in all"
            rows.append(row(name, sorted(times)[2], "s", target=2, note=note))
        browser.close()
    return rows
