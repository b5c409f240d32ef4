"""A page with two answers and nothing else, served with the real routes: what capture tests drive.

    python capture_app.py SESSIONS PORT [--die-in-write N]

The page takes `#SESSION,TOKEN,SCENE`; `POST /new` opens a session, `POST /scene` stores answers.
Before that it may be asked for (`?fresh&denied&...`):

* `fresh`: nothing that earlier sessions left in this browser
* `denied`: no storage, as in a frame of another site
* `seal=MS`: a batch so often, and not every two seconds
* `witness=URL`: each batch is posted there, `[tab, seq, events]`, once it is on disk
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from ifllm_hf.capture import attach
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.rendered.markdown_source import render_markdown

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Two answers</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
  body { margin: 0; font: 16px/1.6 sans-serif; }
  main { display: grid; grid-template-columns: 1fr 1fr; gap: 12px; padding: 8px; }
  [data-response] { height: 300px; overflow: auto; border: 2px solid #888; padding: 10px; }
  table { border-collapse: collapse; } td, th { border: 1px solid #888; padding: 4px 8px; }
  pre { overflow-x: auto; }
  @media (max-width: 600px) { main { grid-template-columns: 1fr; } }
</style>
<main data-turn="0">
  <div data-response="A">ANSWER_A</div>
  <div data-response="B">ANSWER_B</div>
</main>
<fieldset data-control="preference">
  <label><input type="radio" name="p" value="a">a</label>
  <label><input type="radio" name="p" value="b">b</label>
</fieldset>
<button data-control="submit">Send</button>
<div style="height: 900px"></div>
<script type="module">
  import { startCapture } from "./capture/record/capture.js";
  import { drainBacklog } from "./capture/record/transport.js";
  import * as hit from "./capture/record/hit.js";
  window.hits = hit;
  window.refusals = [];
  window.sealed = [];  // [tab, seq, events] of each batch
  window.acknowledged = [];  // [tab, seq] of each that the server says it has
  const asked = new URLSearchParams(location.search);
  const really = fetch.bind(window);
  window.fetch = async (address, request) => {
    const response = await really(address, request);
    if (String(address).endsWith("/events") && response.status === 200) {
      const { tab, seq } = JSON.parse(request.body);
      acknowledged.push([tab, seq]);
    }
    return response;
  };
  if (asked.has("denied")) {
    for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      Object.defineProperty(window, name, { get() { throw new DOMException("denied") } });
    }
  } else if (asked.has("fresh")) {
    localStorage.clear();
    await new Promise((done) => {
      const gone = indexedDB.deleteDatabase("ifllm-capture");
      gone.onsuccess = gone.onerror = gone.onblocked = done;
    });
  }
  const [session, token] = location.hash.slice(1).split(",");
  if (session) {
    window.drained = await drainBacklog({ onrefused: (error) => refusals.push(error) });
    window.capture = await startCapture({
      session, token, onrefused: (error) => refusals.push(error),
    });
    const { sender } = capture.transport;
    const add = sender.add.bind(sender);
    sender.add = (entry) => {
      const { tab, seq, events } = entry;
      sealed.push([tab, seq, events]);
      window.onSealed?.(tab, seq, events);
      add(entry);
      const body = JSON.stringify([tab, seq, events]);
      const tell = () => really(asked.get("witness"), { method: "POST", mode: "no-cors", body });
      if (asked.has("witness")) sender.backlog.entries().then(tell);  // that is behind all puts
    };
    if (asked.has("seal")) setInterval(() => capture.transport.seal(), Number(asked.get("seal")));
  }
  window.ready = true;
</script></html>"""

WORDS = "some words that are read one by one. "
TEXT = "\n\n".join(f"Paragraph {i}: {WORDS * 4}" for i in range(9))


def build(settings: Settings) -> FastAPI:
    app = FastAPI()
    store = attach(app, settings=settings).store
    scene = {"a": TEXT, "b": TEXT.upper()}

    @app.get("/")
    def page() -> HTMLResponse:
        answers = {name: render_markdown(source) for name, source in scene.items()}
        return HTMLResponse(
            PAGE.replace("ANSWER_A", answers["a"]).replace("ANSWER_B", answers["b"])
        )

    @app.post("/scene")
    async def put_scene(request: Request) -> dict[str, Any]:
        scene.update(await request.json())
        return {}

    @app.post("/new")
    def new() -> dict[str, str]:
        opened = store.open_session(consent_version="1", consent_text="yes", client={})
        return {
            "session": opened.session_id,
            "token": opened.token,
            "code": opened.withdrawal_code,
        }

    return app


def die_in_write(number: int) -> None:
    """Kill this process with half of a batch in the file: the `number`-th that arrives."""
    from ifllm_hf.capture.server import append_log

    left = number
    write = os.write

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        @staticmethod
        def write(handle: int, data: bytes) -> int:
            nonlocal left
            left -= data.count(b'{"type":"batch"')
            if left > 0 or b'{"type":"batch"' not in data:
                return write(handle, data)
            write(handle, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError

    append_log.os = Dying()  # type: ignore[assignment]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sessions", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("--die-in-write", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={})
    arguments = parser.parse_args()
    if arguments.die_in_write:
        die_in_write(arguments.die_in_write)
    settings = Settings(
        sessions=arguments.sessions,
        contact="lab@example.org",
        legal_basis="test",
        **arguments.settings,
    )
    uvicorn.run(build(settings), port=arguments.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
