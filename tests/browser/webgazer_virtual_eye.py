"""Real WebGazer from end to end, before a face that is drawn: `make webgazer-test`, not in CI.

The camera is a canvas with a face whose irises look at `window.look`. This tests that everything is
wired together, not how exact WebGazer is with people.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.helpers.spaces.running import Space
from tests.helpers.spaces.taking_part import agree, ask, finish, rate

EYE = """
window.look = { x: innerWidth / 2, y: innerHeight / 2 };
const canvas = document.createElement("canvas");
canvas.width = 640;
canvas.height = 480;
const ink = canvas.getContext("2d");
const ellipse = (x, y, a, b, fill) => {
  ink.fillStyle = fill;
  ink.beginPath();
  ink.ellipse(x, y, a, b, 0, 0, 2 * Math.PI);
  ink.fill();
};
const stroke = (width, colour, path) => {
  ink.lineWidth = width;
  ink.strokeStyle = colour;
  ink.beginPath();
  path();
  ink.stroke();
};
function draw() {
  ink.fillStyle = "#8fa3ad";
  ink.fillRect(0, 0, 640, 480);
  ellipse(320, 430, 190, 90, "#3d4f66");
  ellipse(320, 345, 55, 70, "#d9a585");
  ellipse(320, 215, 132, 165, "#3a2a20");
  const skin = ink.createRadialGradient(300, 210, 30, 320, 240, 170);
  skin.addColorStop(0, "#f3cdb2");
  skin.addColorStop(1, "#d19d7c");
  ellipse(320, 240, 112, 148, skin);
  const dx = 9 * (2 * window.look.x / innerWidth - 1);
  const dy = 6 * (2 * window.look.y / innerHeight - 1);
  for (const x of [272, 368]) {
    ellipse(x, 213, 27, 15, "#b98a6c");
    ellipse(x, 214, 23, 11, "#fbfbf8");
    ink.save();
    ink.beginPath();
    ink.ellipse(x, 214, 23, 11, 0, 0, 2 * Math.PI);
    ink.clip();
    ellipse(x + dx, 214 + dy, 10, 10, "#4a3222");
    ellipse(x + dx, 214 + dy, 5, 5, "#0b0705");
    ink.restore();
    stroke(3, "#4a3222", () => ink.ellipse(x, 215, 24, 13, 0, 1.05 * Math.PI, 1.95 * Math.PI));
    stroke(8, "#4a3222", () => ink.ellipse(x, 203, 32, 18, 0, 1.15 * Math.PI, 1.85 * Math.PI));
  }
  stroke(4, "#b98263", () => { ink.moveTo(312, 222); ink.quadraticCurveTo(298, 275, 304, 284); });
  ellipse(306, 287, 7, 4, "#9c6a4f");
  ellipse(334, 287, 7, 4, "#9c6a4f");
  stroke(3, "#b98263", () => ink.ellipse(320, 284, 17, 9, 0, 0.1 * Math.PI, 0.9 * Math.PI));
  ellipse(320, 328, 38, 11, "#b1574f");
  stroke(3, "#7c332e", () => { ink.moveTo(284, 328); ink.quadraticCurveTo(320, 334, 356, 328); });
  ellipse(270, 282, 24, 16, "rgba(226,140,120,0.35)");
  ellipse(370, 282, 24, 16, "rgba(226,140,120,0.35)");
  requestAnimationFrame(draw);
}
draw();
navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(30);
"""
FOUND = ("when", "mean_px", "share_within_200_px", "samples_per_s", "mouse_leak")
LOOK_AT_TARGET = """
setInterval(() => {
  const target = document.querySelector(".ifllm-target");
  if (!target) return;
  const { left, top, width } = target.getBoundingClientRect();
  window.look = { x: left + width / 2, y: top + width / 2 };
}, 30);
"""


def run(webgazer: Path, place: Path) -> dict[str, Any]:
    """Take part with WebGazer; return what was found."""
    from playwright.sync_api import sync_playwright

    from ifllm_hf.data.prepared.prepare import prepare_synthetic

    prepare_synthetic(4, place / "ifllm", progress=False)
    people = {"contact": "lab@example.org", "legal_basis": "a test"}
    space = Space(place, place / "ifllm", webgazer=str(webgazer), **people)
    flags = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--enable-unsafe-swiftshader"]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium,
                args=flags,
                ignore_default_args=["--disable-gpu"],
            )
            page = browser.new_page(viewport={"width": 1200, "height": 800})
            page.set_default_timeout(120_000)
            outside: list[str] = []
            ours = (space.url, "blob:", "data:")
            page.on(
                "request",
                lambda r: None if r.url.startswith(ours) else outside.append(r.url),
            )
            page.add_init_script(EYE)
            page.goto(space.url)
            page.evaluate(LOOK_AT_TARGET)
            page.get_by_role("tab", name="Take part").click()
            start = time.monotonic()
            agree(page, webcam=True)
            ready_s = None
            for _ in range(9):
                circle = page.locator("button.ifllm-target[aria-label='look here and press']")
                circle.wait_for()
                ready_s = ready_s or time.monotonic() - start
                for _ in range(3):
                    page.wait_for_timeout(250)
                    circle.click()
            ask(page)
            page.mouse.move(600, 780)  # parked
            for box in ("A", "B"):
                page.evaluate(
                    """(box) => {
                      const answer = document.querySelector(`.ifllm-pair [data-response=${box}]`);
                      const { left, top, width, height } = answer.getBoundingClientRect();
                      window.look = { x: left + width / 2, y: top + height / 2 };
                    }""",
                    box,
                )
                page.wait_for_timeout(6000)
            rate(page)
            finish(page)
            browser.close()
    finally:
        space.stop()
    (file,) = space.sessions.glob("s_*.jsonl")
    records = [json.loads(line) for line in file.read_bytes().splitlines()]
    events = [e for r in records if r["type"] == "batch" for e in r["events"]]
    gaze = [e for e in events if e[0] == "g" and e[2] == 0]
    half = gaze[0][1] + 6000 if gaze else 0
    return {
        "ready_s": round(ready_s or 0, 1),
        "outside_requests": outside,
        "validations": [
            {name: r[name] for name in FOUND} for r in records if r["type"] == "calibration"
        ],
        "looking_at_a": [sum(e[3] == box for e in gaze if e[1] < half) for box in ("A", "B")],
        "looking_at_b": [sum(e[3] == box for e in gaze if e[1] > half + 500) for box in ("A", "B")],
        "errors": [e for e in events if e[0] == "e" and e[2] == "gaze_error"],
    }


def main() -> int:
    """Fetch WebGazer where no folder is given, run, and say whether it is wired together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--webgazer", type=Path, help="a fetched folder; else it is fetched")
    arguments = parser.parse_args()
    from ifllm_hf.capture.fetch_webgazer import fetch

    with tempfile.TemporaryDirectory(prefix="webgazer-test-") as place:
        folder = arguments.webgazer
        if folder is None:
            folder = Path(place) / "webgazer"
            fetch(folder)
        found = run(folder, Path(place))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    before = next((v for v in found["validations"] if v["when"] == "before"), None)
    a, b = found["looking_at_a"], found["looking_at_b"]
    wired = (
        before is not None
        and None not in before.values()
        and before["mean_px"] < 250
        and abs(before["mouse_leak"]) < 0.05  # about 0.3 where WebGazer learns from the mouse
        and a[0] > a[1]
        and b[1] > b[0]
        and not found["outside_requests"]
    )
    sys.stdout.write("wired together\n" if wired else "NOT wired together\n")
    return 0 if wired else 1


if __name__ == "__main__":
    sys.exit(main())
