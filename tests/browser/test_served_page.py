"""A page on another host loads the recorder from `ifllm serve` and sends there, in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.helpers.capture.served import Served
from tests.helpers.loopback import Loopback, Request

# As docs/serve.md has it.
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A chat</title>
<main></main>
<fieldset data-control="preference"><input type="radio" name="p" value="b"></fieldset>
<script type="module">
  const server = "SERVER";
  const { ask } = await import(`${server}/capture/take_part/steps.js`);
  const { startCapture } = await import(`${server}/capture/record/capture.js`);
  const page = await ask({ step: "begin" });
  const { version } = page.consent;
  const { session, token, code } = await ask({ step: "consent", version, adult: true });
  const capture = await startCapture({ session, token });
  const answers = [{ text: "The **left** one.", model: "a" }, { text: "The right one." }];
  const { shown } = await ask({ step: "turn", session, token, question: "Which?", answers });
  const main = document.querySelector("main");
  main.dataset.turn = shown.turn;
  for (const { box, html } of shown.boxes) {
    const answer = document.createElement("div");
    answer.dataset.response = box;
    answer.innerHTML = html;
    main.append(answer);
  }
  window.finish = async () => {
    await ask({ step: "rate", session, token, turn: shown.turn, preference: "b" });
    await ask({ step: "end", session, token });
    return capture.stop();
  };
  window.code = code;
</script></html>"""


class Chat(Loopback):
    """Somebody's chat page."""

    def answer(self, request: Request) -> None:
        page = PAGE.replace("SERVER", self.server_url) if request.path == "/" else ""
        request.send(200 if page else 404, page.encode(), {"Content-Type": "text/html"})

    server_url = ""


def test_a_page_elsewhere_records_and_its_reader_withdraws(context: Any, tmp_path: Path) -> None:
    with Chat() as chat:
        served = Served(tmp_path, chat.url.rstrip("/"))
        chat.server_url = f"http://localhost:{served.port}"  # another site than 127.0.0.1
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(chat.url)
        page.wait_for_function("window.code")  # the last that the script sets
        page.locator("strong").hover()
        page.wait_for_timeout(90)  # longer than a sample
        page.locator("input").check()
        assert page.evaluate("finish()") is True  # all of it is on the server
        lines = served.lines()
        pointer = [e for line in lines for e in line.get("events", ()) if e[0] == "p"]
        source = "The **left** one."
        assert {source[e[8]] for e in pointer if e[2:4] == [0, "A"]} <= set("left")
        assert any(e[2:4] == [0, "A"] for e in pointer)
        assert [line["type"] for line in lines if line["type"] != "batch"] == [
            "session", "turn", "rating", "end",
        ]  # fmt: skip
        code = page.evaluate("code")
        page.goto(f"{chat.server_url}/")
        page.get_by_label("Withdrawal code").fill(code)
        page.get_by_role("button", name="Delete my session").click()
        page.get_by_text("Your session is deleted.").wait_for()
        assert not list(served.sessions.glob("*.jsonl"))
        served.stop()
    assert faults == []
