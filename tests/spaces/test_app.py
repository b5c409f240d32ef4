"""The application around the tabs: where its data comes from, and what it never gives away."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ifllm_hf.errors import SourceError
from ifllm_space import demo_data as demo
from ifllm_space.demo_data import DemoData, open_demo_data
from ifllm_space.operator import is_here, may_see_sessions
from ifllm_space.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where sessions are kept: the operator collects."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def client(
    demo_data: DemoData, folder: Path, build_space: Callable[..., FastAPI]
) -> Iterator[TestClient]:
    settings = Settings(
        sessions=folder / "sessions", contact="a@b.example", legal_basis="consent", secret="x" * 40
    )
    with TestClient(build_space(demo_data, settings)) as client:
        (folder / "sessions" / "s.jsonl").write_text("somebody's reading")
        yield client


# --- where the data comes from


def test_named_folder_must_be_a_prepared_one(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is no prepared folder"):
        open_demo_data(tmp_path)


def test_prepared_data_is_found_where_the_app_is_started_then_beside_it(
    prepared_synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing, here = tmp_path / "nothing", tmp_path / "here"
    here.mkdir()
    (here / "ifllm").symlink_to(prepared_synthetic)
    nothing.mkdir()
    monkeypatch.setattr(demo, "PLACES", (Path("ifllm"), prepared_synthetic))
    monkeypatch.chdir(here)
    assert open_demo_data().folder == prepared_synthetic.resolve()
    monkeypatch.chdir(nothing)
    assert open_demo_data().folder == prepared_synthetic.resolve()


def test_without_data_a_release_is_made_up_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "PLACES", (Path("ifllm"),))
    monkeypatch.setattr(demo, "CONVERSATIONS", 2)
    data = open_demo_data()
    assert data.made_up and "Made-up data" in data.said
    assert data.index.height > 0
    assert list(tmp_path.iterdir()) == []  # nothing is left where the app was started


def test_few_turns_are_explored_even_if_no_reward_can_be_fitted(
    tmp_path: Path, build_space: Callable[..., FastAPI]
) -> None:
    data = open_demo_data(synthetic=2)
    with TestClient(build_space(data, Settings(sessions=tmp_path / "sessions"))) as client:
        config = client.get("/config").json()
    said = [str(c["props"].get("value")) for c in config["components"]]
    assert any("There is nothing to score with" in text for text in said)
    assert any('"ticks"' in text for text in said)  # Explore is there


def test_made_up_data_is_called_so_wherever_it_lies(demo_data: DemoData) -> None:
    assert demo_data.made_up
    assert demo_data.said == "Made-up data: no person stands behind it."


def test_collected_sessions_are_not_called_the_release(tmp_path: Path) -> None:
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.data.sessions.made_up import write_sessions

    for truth in write_sessions(tmp_path / "sessions", 8, steps=6):
        lines = truth.path.read_text("utf-8").splitlines(keepends=True)
        first = json.loads(lines[0])
        del first["versions"]  # nothing says now that nobody stands behind it
        truth.path.write_text("".join([json.dumps(first) + "\n", *lines[1:]]), "utf-8")
    prepare(tmp_path / "sessions", tmp_path / "ifllm", progress=False)
    data = open_demo_data(tmp_path / "ifllm")
    assert not data.made_up and data.said.startswith("Collected sessions")
    assert data.reward.trained_on.source == "sessions"


def test_help_shows_how_to_start() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "spaces" / "app.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "python spaces/app.py" in done.stdout and "GRADIO_SERVER_PORT" in done.stdout


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--port", "99999999"], "99999999 is no port; expected 1 to 65535"),
        (["--model", "nowhere"], "nowhere: holds no model"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(asked: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "spaces" / "app.py"), "--synthetic", "2", *asked],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert said in done.stderr and "Traceback" not in done.stderr


# --- the page


def test_page_and_its_files_are_served(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    for name in ("page.css", "explore/explore.js", "score/score.js", "record/recorder.js"):
        answer = client.get(f"/page/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"


def test_every_style_of_the_page_is_served(client: TestClient) -> None:
    styles = re.findall(r'href="([^"]+\.css)"', client.get("/config").json()["head"])
    assert [name.rpartition("/")[2] for name in styles] == [
        "collect.css",
        "explore.css",
        "page.css",
    ]
    assert all(client.get(f"/{name}").status_code == 200 for name in styles)


def test_every_script_that_a_script_imports_is_there(client: TestClient) -> None:
    static = ROOT / "spaces" / "ifllm_space" / "static"
    scripts = list(static.rglob("*.js"))
    assert len(scripts) > 20
    for script in scripts:
        for name in re.findall(r'(?:from |import\()"(\.[\w./-]+\.js)"', script.read_text()):
            url = urljoin(f"/page/{script.relative_to(static).as_posix()}", name)
            assert client.get(url).status_code == 200, f"{script.name}: {name}"


def test_page_asks_nothing_of_other_hosts(client: TestClient) -> None:
    config = client.get("/config").json()
    assert "http" not in json.dumps(config.get("head"))
    assert not config.get("css")
    assert "fonts.googleapis" not in client.get("/").text


def test_own_routes_answer_beside_gradio(client: TestClient) -> None:
    answer = client.post("/api/v1/events", json={})
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["ok"] is False  # our refusal, not the front's


def test_no_handler_is_a_public_endpoint(client: TestClient) -> None:
    assert client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    visible = {d.get("api_visibility") for d in client.get("/config").json()["dependencies"]}
    assert "public" not in visible


def test_no_documentation_of_the_api_is_served(client: TestClient) -> None:
    # Gradio answers unknown paths with its page; a schema would be JSON.
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert "openapi" not in client.get(path).text[:2000]


# --- what stays private


def private_files(data: DemoData, folder: Path) -> list[Path]:
    sessions = sorted(path for path in (folder / "sessions").rglob("*") if path.stat().st_size)
    assert sessions
    return [*sessions, data.folder / "README.md", ROOT / "spaces" / "app.py", ROOT / "README.md"]


def test_no_file_can_be_reached_through_gradio(
    client: TestClient, demo_data: DemoData, folder: Path
) -> None:
    for path in private_files(demo_data, folder):
        for route in (
            "/gradio_api/file=",
            "/file=",
            "/gradio_api/file/",
            "/page/../../..",
            "/page/",
        ):
            answer = client.get(f"{route}{path}")
            assert path.read_bytes() != answer.content, f"{route}{path}"
            assert path.read_text(errors="replace")[:40] not in answer.text, f"{route}{path}"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../settings.py",
        "/page/..%2fsettings.py",
        "/page/%2e%2e/settings.py",
        "/page/..%5csettings.py",
        "/gradio_api/file=page/../ifllm_space/settings.py",
        "/gradio_api/file=spaces/app.py",
        "/static/../../app.py",
    ],
)
def test_path_tricks_find_nothing(client: TestClient, path: str) -> None:
    assert "import" not in client.get(path).text.replace("modulepreload", "")[:300]
    assert "class Settings" not in client.get(path).text


def test_nobody_can_put_files_on_the_server(client: TestClient) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("x.txt", b"a" * 5000)})
    assert answer.status_code >= 400


def test_page_carries_no_secret_and_no_path(client: TestClient, folder: Path) -> None:
    said = client.get("/").text + client.get("/config").text
    assert "x" * 40 not in said
    assert str(folder) not in said
    assert "legal_basis" not in said


# --- who is the operator


def request(host: str = "localhost:7860", client: str = "127.0.0.1", **headers: str) -> Any:
    from starlette.requests import Request

    raw = {"host": host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "client": (client, 1),
        "headers": [(name.encode(), value.encode()) for name, value in raw.items()],
    }
    import gradio as gr

    return gr.Request(Request(scope))


class Profile:
    """What Gradio knows of a signed-in user."""

    def __init__(self, username: str) -> None:
        self.username = username


SHOWING = Settings(show_sessions=True, operators=("ann",))


def test_sessions_are_shown_on_this_machine_if_the_operator_wants_it() -> None:
    assert may_see_sessions(SHOWING, request(), None)
    assert may_see_sessions(SHOWING, request("127.0.0.1:80"), None)
    assert may_see_sessions(SHOWING, request("[::1]:80", "::1"), None)
    assert not may_see_sessions(Settings(), request(), None)
    assert not may_see_sessions(SHOWING, None, None)


@pytest.mark.parametrize(
    "other",
    [
        {"client": "10.0.0.7"},
        {"x_forwarded_for": "10.0.0.7"},
        {"forwarded": "for=10.0.0.7"},
        {"host": "evil.example"},  # a page that had its name point here
    ],
)
def test_sessions_are_not_shown_to_others(other: dict[str, str]) -> None:
    assert not may_see_sessions(SHOWING, request(**other), None)


def test_in_a_space_only_a_named_signed_in_user_sees_sessions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ann: Any = Profile("ann")
    monkeypatch.setenv("SPACE_ID", "lab/readers")
    assert not may_see_sessions(SHOWING, request(), ann)  # without OAuth anyone can be Ann
    monkeypatch.setenv("OAUTH_CLIENT_ID", "id")
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "secret")
    assert may_see_sessions(SHOWING, request("lab.hf.space", "10.0.0.1"), ann)
    bob: Any = Profile("bob")
    assert not may_see_sessions(SHOWING, request(), bob)
    assert not may_see_sessions(SHOWING, request(), None)
    quiet = dataclasses.replace(SHOWING, show_sessions=False)
    assert not may_see_sessions(quiet, request(), ann)


def test_a_request_without_a_host_is_not_from_here() -> None:
    assert not is_here("127.0.0.1", {})
    assert not is_here(None, {"host": "localhost"})


def test_sessions_tab_is_hidden_until_the_operator_is_known(client: TestClient) -> None:
    tabs = {
        c["props"]["label"]: c["props"]["visible"]
        for c in client.get("/config").json()["components"]
        if c["type"] == "tabitem"
    }
    assert tabs["Explore"] and tabs["Score"]
    assert tabs["Collected sessions"] is False
