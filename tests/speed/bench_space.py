"""The Space: what a sample costs the reader's browser, and how many readers one server takes.

`IFLLM_BENCH_LOAD_MINUTES` sets how long the load for the memory figure lasts (default 0.5).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import Row, row

APP = Path(__file__).parents[1] / "browser" / "capture_app.py"
READERS = 60
BATCH_EVENTS = 80  # two seconds at 40 Hz
UPLOADS = 6000
CAPTURE_ROUNDS = 5  # with and without capture in turn: a slow minute then meets both
CAPTURE_S = 6


def main() -> list[Row]:
    rows = []
    with _server(uploads_per_minute=10**7, sessions_per_minute=10**7) as (url, process):
        rows += _capture_cost(url)
        rows += _uploads(url)
        rows += _memory(url, process)
    return rows


@contextlib.contextmanager
def _server(**settings: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve from a folder of this disk: a memory disk would sync for nothing."""
    folder = Path(tempfile.mkdtemp(dir=Path.cwd(), prefix=".bench-space-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(APP), str(folder / "s"), str(port)]
    process = subprocess.Popen([*command, "--settings", json.dumps(settings)])
    url = f"http://localhost:{port}/"
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(url):
                break
            time.sleep(0.1)
        yield url, process
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


# --- the browser


def _capture_cost(url: str) -> list[Row]:
    names = ("capture: time per pointer sample", "capture: share of a core at 40 Hz")
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    if browser_path is None:
        return [row(name, None, note="no Chromium here") for name in names]
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    costs_ms, shares, n_samples = [], [], 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=flags)
        for _ in range(CAPTURE_ROUNDS):
            opened = _post(url + "new", {})
            without, _ = _page_under_a_mouse(browser, url)
            share, stats = _page_under_a_mouse(
                browser, f"{url}#{opened['session']},{opened['token']}"
            )
            rate_hz = stats["samples"] / CAPTURE_S
            shares.append(100 * (share - without) * 40 / rate_hz)
            costs_ms.append(stats["cost_ms"] / stats["samples"])
            n_samples += stats["samples"]
        browser.close()
    note = (
        f"median of {CAPTURE_ROUNDS} rounds, {n_samples} samples, "
        f"{n_samples / CAPTURE_ROUNDS / CAPTURE_S:.0f} Hz, two answers of 1,400 characters"
    )
    return [
        row(names[0], statistics.median(costs_ms), "ms", 0.5, note),
        row(
            names[1],
            statistics.median(shares),
            "%",
            2,
            f"CPU time of the page's main thread, less that of the same page without capture; "
            f"rounds: {', '.join(f'{share:.2f}' for share in shares)}",
        ),
    ]


def _page_under_a_mouse(browser: Any, url: str) -> tuple[float, dict[str, float]]:
    """Share of a core that the page takes while a mouse moves over it, faster than it samples."""
    page = browser.new_page(viewport={"width": 1000, "height": 720})
    page.goto(url)
    page.wait_for_function("window.ready")
    session = page.context.new_cdp_session(page)
    # Time of the thread, not of the wall: what other programs take from it is not the page's.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    before, start = _busy_s(session), time.perf_counter()
    step = 0
    while (now := time.perf_counter() - start) < CAPTURE_S:
        if now < 0.016 * step:
            time.sleep(0.016 * step - now)
        page.mouse.move(40 + 7 * step % 900, 40 + 3 * step % 280)
        step += 1
    share = (_busy_s(session) - before) / (time.perf_counter() - start)
    stats = page.evaluate("window.capture?.stats()")
    page.close()
    return share, stats


def _busy_s(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))


# --- the server


def _uploads(url: str) -> list[Row]:
    took, waits = asyncio.run(_load(url, UPLOADS // READERS, every_s=0))
    waits.sort()
    note = f"{READERS} readers, {len(waits)} uploads of {BATCH_EVENTS} events, each synced to disk"
    return [
        row("uploads: p99", 1000 * waits[int(0.99 * len(waits))], "ms", 500, note),
        row("uploads: median", 1000 * waits[len(waits) // 2], "ms"),
        row("uploads: rate", len(waits) / took, "per s", 300, at_most=False),
    ]


def _memory(url: str, process: subprocess.Popen[bytes]) -> list[Row]:
    minutes = float(os.environ.get("IFLLM_BENCH_LOAD_MINUTES", "0.5"))
    rounds = max(2, int(minutes * 60 / 2 / 2))
    asyncio.run(_load(url, rounds, every_s=2))
    half_mb = _resident_mb(process)
    asyncio.run(_load(url, rounds, every_s=2))
    note = f"second half of {minutes:g} minutes, {READERS} readers with an upload every 2 s"
    return [
        row("memory: growth of the server", _resident_mb(process) - half_mb, "MB", 5, note),
        row("memory: of the server at the end", _resident_mb(process), "MB"),
    ]


def _resident_mb(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return float(status.split("VmRSS:")[1].split()[0]) / 1e3


async def _load(url: str, uploads: int, every_s: float) -> tuple[float, list[float]]:
    """Let all readers upload; return the seconds it took and each upload's wait."""
    waits: list[float] = []
    opened = [_post(url + "new", {}) for _ in range(READERS)]
    readers = [_reader(url, session, uploads, every_s, waits) for session in opened]
    start = time.perf_counter()
    await asyncio.gather(*readers)
    return time.perf_counter() - start, waits


async def _reader(
    url: str, opened: dict[str, str], uploads: int, every_s: float, waits: list[float]
) -> None:
    events = [
        ["p", 25.1 * i, 0, "A", 300.5 + i, 200.1, 280.5, 190.1, 100 + i, 0, 0, "mouse"]
        for i in range(BATCH_EVENTS)
    ]
    upload = {
        "v": 2,
        "session": opened["session"],
        "token": opened["token"],
        "tab": "benchbenchbench",
        "origin_epoch_ms": 1.7e12,
        "sent_epoch_ms": 1.7e12,
        "events": events,
    }
    port = int(url.rsplit(":", 1)[1].strip("/"))
    reading, writing = await asyncio.open_connection("localhost", port)
    # Readers do not start together.
    await asyncio.sleep(every_s * (hash(opened["session"]) % 100) / 100)
    for seq in range(uploads):
        body = json.dumps({**upload, "seq": seq}).encode()
        head = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Content-Length: {len(body)}\r\n\r\n"
        start = time.perf_counter()
        writing.write(head.encode() + body)
        answer = await reading.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length:")[1].split()[0])
        said = json.loads(await reading.readexactly(length))
        waits.append(time.perf_counter() - start)
        assert said["ok"] and not said["duplicate"], said
        await asyncio.sleep(max(0.0, every_s - waits[-1]) if every_s else 0)
    writing.close()


def _post(url: str, value: Any) -> dict[str, str]:
    request = urllib.request.Request(url, json.dumps(value).encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        said: dict[str, str] = json.load(answer)
    return said
