"""A judge on the loopback interface that speaks the OpenAI chat-completions protocol.

It checks every request as a strict server would, and misbehaves on order.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from tests.helpers.alignment.chat_errors import ERRORS, WRAPPED
from tests.helpers.loopback import Loopback, Request

# Gets question, first answer and second answer; returns score_first, score_second, winner.
Taste = Callable[[str, str, str], tuple[int, int, str]]


def longer_is_better(question: str, first: str, second: str) -> tuple[int, int, str]:
    one, two = min(10, 1 + len(first) // 5), min(10, 1 + len(second) // 5)
    return one, two, "tie" if one == two else "first" if one > two else "second"


def always_first(question: str, first: str, second: str) -> tuple[int, int, str]:
    return 9, 3, "first"


class LoopbackJudge(Loopback):
    """Use with `with`; `url` is what `base_url` should be.

    `taste` decides. Each item of `mishaps` befalls one request: `429`, `429 2` (Retry-After: 2),
    any other status, `hang`, `drop`, `not json`, `html`, `prose`, `wrong schema`, `empty`,
    `no choices`, `cut`, the name of one of `chat_errors.ERRORS` or `chat_errors.WRAPPED`; `=TEXT`
    is the answer TEXT. Every answer takes `answer_s`, and some time of the machine.
    """

    path = "/v1"

    def __init__(
        self,
        taste: Taste = longer_is_better,
        mishaps: tuple[str, ...] = (),
        key: str = "sesame",
        answer_s: float = 0.0,
    ) -> None:
        super().__init__(mishaps)
        self.taste, self.key, self.answer_s = taste, key, answer_s
        self.problems: list[str] = []
        self.knows_schema = True

    def answer(self, request: Request) -> None:
        body = json.loads(request.body())
        with self.lock:
            self.requests.append(body)
            mishap = self.mishap()
        time.sleep(self.answer_s)
        if request.path != "/v1/chat/completions":
            return self.refuse(request, 404, f"no route {request.path}")
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return self.refuse(request, 401, "Incorrect API key provided")
        if body.get("response_format") and not self.knows_schema:
            return self.refuse(request, 400, "unknown field response_format")
        self.check(body)
        if mishap in ERRORS:
            error = ERRORS[mishap]
            return request.send(error.status, error.body, error.headers)
        if mishap.split(" ")[0].isdigit():
            status, *wait = mishap.split(" ")
            return self.refuse(request, int(status), "slow down", *wait)
        if mishap == "hang":
            time.sleep(0.6)
        if mishap in ("hang", "drop"):
            request.close_connection = True
            return None
        if mishap == "html":
            return request.send(200, b"<html>a proxy</html>")
        shown = str(body["messages"][-1]["content"])
        asked = [m for m in body["messages"] if "<question>" in m["content"]][-1]["content"]
        question, first, second = (
            re.search(rf"<{tag}>\n(.*?)\n</{tag}>", asked, re.DOTALL).group(1)  # type: ignore[union-attr]
            for tag in ("question", "first", "second")
        )
        one, two, winner = self.taste(question, first, second)
        verdict: Any = {
            "reason": "Because.", "score_first": one, "score_second": two, "winner": winner,
        }  # fmt: skip
        content: Any = json.dumps(verdict)
        if mishap == "not json":
            content = content[:-5]
        elif mishap == "prose":
            content = f"I think the {winner} is better."
        elif mishap == "wrong schema":
            content = json.dumps({**verdict, "score_first": 11})
        elif mishap == "empty":
            content = None
        elif mishap == "cut":
            content = content[:20]
        elif mishap in WRAPPED:
            content = WRAPPED[mishap].replace("VERDICT", content)
        elif mishap.startswith("="):
            content = mishap[1:]
        answer = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body["model"],
            "choices": [
                {
                    "index": 0, "finish_reason": "length" if mishap == "cut" else "stop",
                    "message": {"role": "assistant", "content": content},
                }
            ],
            "usage": {
                "prompt_tokens": len(shown), "completion_tokens": 10,
                "total_tokens": len(shown) + 10,
            },
        }  # fmt: skip
        if mishap == "no choices":
            answer["choices"] = []
        return request.send_json(answer)

    def check(self, body: dict[str, Any]) -> None:
        """Note what a strict server would refuse."""
        roles = [m["role"] for m in body["messages"]]
        if roles[0] != "system" or roles[-1] != "user" or "user" in (roles[2], roles[4]):
            self.problems.append(f"roles {roles}")
        if body.get("temperature", 0) != 0:
            self.problems.append("temperature")
        wanted = body.get("response_format")
        if wanted and wanted["type"] == "json_schema":
            schema = wanted["json_schema"]["schema"]
            if set(schema["required"]) != set(schema["properties"]):
                self.problems.append("strict mode wants every property required")
            if schema["additionalProperties"] is not False or not wanted["json_schema"]["strict"]:
                self.problems.append("not strict")

    def refuse(self, request: Request, status: int, why: str, wait: str | None = None) -> None:
        error = {"error": {"message": why, "type": "error", "code": status}}
        request.send_json(error, status, {"Retry-After": wait})
