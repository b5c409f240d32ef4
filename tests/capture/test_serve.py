"""The capture server by itself: a session from a page on another host, and what is refused."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from ifllm_hf import cli
from ifllm_hf.capture.serve import build_server
from ifllm_hf.capture.settings import Settings
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import prepare
from tests.helpers.capture.served import Served
from tests.helpers.capture.session_store import make_settings
from tests.helpers.spaces.running import free_port

PAGE = "https://chat.example.org"
OTHER = "https://evil.example"
PREFIX = "/capture-here"
TEXTS = ("Rome was **not** built in a day.", "It was built in two.")


class Browser:
    """What a browser would ask of a server."""

    def __init__(self, served: Served) -> None:
        self.port, self.sessions = served.port, served.sessions

    def ask(
        self, method: str, path: str, body: Any = None, origin: str | None = PAGE, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask as a browser would for a page of that origin."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = None if body is None else json.dumps(body).encode()
        foreign = {"Origin": origin, "Sec-Fetch-Site": "cross-site"} if origin else {}
        connection.request(method, PREFIX + path, sent, foreign | headers)
        answer = connection.getresponse()
        said = {name.lower(): value for name, value in answer.getheaders()}
        content = answer.read()
        connection.close()
        return answer.status, said, content

    def step(self, **request: Any) -> dict[str, Any]:
        status, headers, content = self.ask("POST", "/api/v1/steps", request)
        said: dict[str, Any] = json.loads(content)
        assert (status, said["ok"], headers["access-control-allow-origin"]) == (200, True, PAGE), (
            said
        )
        return said


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    folder = tmp_path_factory.mktemp("served")
    server = Served(folder, PAGE, "HTTPS://Second.example:443", prefix=PREFIX.strip("/"))
    yield Browser(server)
    server.stop()


def test_a_session_of_a_page_on_another_host_becomes_rows(served: Browser, tmp_path: Path) -> None:
    page = served.step(step="begin")
    opened = served.step(step="consent", version=page["consent"]["version"], adult=True)
    who = {"session": opened["session"], "token": opened["token"]}
    answers = [{"text": text, "model": f"m{i}"} for i, text in enumerate(TEXTS)]
    shown = served.step(step="turn", question="How old is Rome?", answers=answers, **who)["shown"]
    assert (shown["turn"], shown["kind"]) == (0, "pairwise")
    assert "data-s" in shown["boxes"][0]["html"]
    times = {"origin_epoch_ms": 1.7e12, "sent_epoch_ms": 1.7e12}
    events = [["p", 10 * i, 0, "A", 10 + i, 20, 3, 4, i, 0, 1, "mouse"] for i in range(4)]
    upload = {"v": 2, **who, "tab": "tabtabtab", "seq": 0, **times, "events": events}
    status, headers, content = served.ask("POST", "/api/v1/events", upload)
    assert (status, json.loads(content)["durable"]) == (200, True)
    assert headers["access-control-allow-origin"] == PAGE
    served.step(step="rate", turn=0, preference="b", **who)
    served.step(step="end", **who)

    prepare(served.sessions, tmp_path / "mine", progress=False)
    (row,) = pl.read_parquet(config_files(tmp_path / "mine", "pairwise")).to_dicts()
    assert (row["prompt"], row["response_a"], row["response_b"]) == ("How old is Rome?", *TEXTS)
    assert (row["preference"], row["model_b"], row["likert_a"]) == ("b", "m1", None)
    assert [place for place in row["mouse_char"] if place is not None][:4] == [0, 1, 2, 3]


def test_named_pages_may_send_and_others_get_no_allow_header(served: Browser) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    for origin in (PAGE, "https://second.example"):
        status, headers, _ = served.ask("OPTIONS", "/api/v1/events", origin=origin, **asked)
        assert (status, headers["access-control-allow-origin"]) == (200, origin)
        assert headers["vary"].startswith("Origin")
    for path in ("/api/v1/events", "/capture/record/capture.js"):
        _, headers, _ = served.ask("OPTIONS", path, origin=OTHER, **asked)
        assert "access-control-allow-origin" not in headers
        status, headers, content = served.ask("GET", path, origin=OTHER)
        assert "access-control-allow-origin" not in headers
    status, headers, content = served.ask("POST", "/api/v1/steps", {"step": "begin"}, OTHER)
    assert (status, json.loads(content)["error"]) == (403, "cross_site")
    assert "access-control-allow-origin" not in headers
    status, headers, _ = served.ask("GET", "/capture/record/capture.js")
    assert (status, headers["access-control-allow-origin"]) == (200, PAGE)


def test_the_operator_on_this_machine_sees_the_status_and_nobody_else(served: Browser) -> None:
    status, headers, content = served.ask("GET", "/status.json", origin=None)
    assert (status, json.loads(content)["collection"]) == (200, "open")
    assert "access-control-allow-origin" not in headers
    assert b"batches stored" in served.ask("GET", "/status", origin=None)[2]
    proxied = {"X-Forwarded-For": "192.0.2.7"}
    for path in ("/status", "/status.json"):
        status, _, content = served.ask("GET", path, origin=None, **proxied)
        assert status == 403 and b"batches" not in content
        assert served.ask("GET", path)[0] == 403  # of a page elsewhere
    assert b"withdraw.js" in served.ask("GET", "/", origin=None)[2]


# --- in this process


def client_of(folder: Path, **changes: Any) -> TestClient:
    return TestClient(build_server(make_settings(folder / "sessions", **changes)))


def test_quotas_hold(tmp_path: Path) -> None:
    client = client_of(tmp_path, sessions_per_minute=1)
    begun = client.post("/api/v1/steps", json={"step": "begin"}).json()
    consent = {"step": "consent", "version": begun["consent"]["version"], "adult": True}
    assert client.post("/api/v1/steps", json=consent).json()["ok"]
    assert client.post("/api/v1/steps", json=consent).json()["error"] == "rate"


def test_a_step_takes_the_token_of_its_session(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    forged = {"step": "end", "session": "s_" + "a" * 22, "token": "0" * 64}
    assert client.post("/api/v1/steps", json=forged).json()["error"] == "token"
    assert client.post("/api/v1/steps", json={"step": "end"}).json()["error"] == "token"
    assert client.post("/api/v1/steps", json={"step": 7}).json()["error"] == "malformed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--origin", "*"], "'*' would let every page"),
        (["--origin", "https://chat.example.org/app"], "https://chat.example.org/app"),
        (["--origin", "chat.example.org"], "no origin of a page"),
        (["--sessions", "file/sessions"], "sessions cannot be kept there"),
        (["--path-prefix", "/app?x=1"], "ROOT_PATH"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    port = ["--port", str(free_port())]
    assert cli.main(["serve", "--sessions", "sessions", *port, *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and said in err


def test_a_busy_port_is_one_line_and_touches_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert cli.main(["serve", "--sessions", str(tmp_path / "s"), "--port", port]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"ifllm serve: 127.0.0.1:{port}: ") and err.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_settings_name_origins_as_browsers_write_them() -> None:
    named = Settings.from_environment({"IFLLM_SPACE_ORIGINS": f"{PAGE}, http://localhost:3000"})
    assert named.origins == (PAGE, "http://localhost:3000")
