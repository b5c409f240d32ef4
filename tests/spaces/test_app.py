"""The application around the tabs: what it serves, and what it never gives away."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fastapi.testclient import TestClient

from ifllm_hf.capture.page_files import STATIC
from ifllm_hf.data.raw.download import REPOSITORY
from ifllm_space.about_links import about_data
from ifllm_space.demo_data import DemoData

ROOT = Path(__file__).parents[2]
RECORDER = "capture/record/recorder.js"


# --- where the data comes from


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
        (["--port", "abc"], "abc is no port"),
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


def test_a_busy_port_is_one_line_before_any_data_are_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(ROOT / "spaces" / "app.py"), "--synthetic", "2", "--port", port],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}: " in done.stderr and "--port" in done.stderr


# --- the page


def test_page_and_its_files_are_served(client: TestClient) -> None:
    assert client.get("/").status_code == 200
    for name in ("page/page.css", "page/explore/explore.js", "page/score/score.js", RECORDER):
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-cache"


def test_every_style_of_the_page_is_served(client: TestClient) -> None:
    head = client.get("/config").json()["head"]
    assert ".ifllm-opening" in head  # page.css stands in the page itself
    styles = re.findall(r'href="([^"]+\.css)"', head)
    assert [name.rpartition("/")[2] for name in styles] == ["collect.css", "explore.css"]
    assert all(client.get(f"/{name}").status_code == 200 for name in styles)


def test_every_script_that_a_script_imports_is_there(client: TestClient) -> None:
    views = ROOT / "spaces" / "ifllm_space" / "static"
    places = {"page": views, "capture": STATIC}
    scripts = [(script, at) for at, folder in places.items() for script in folder.rglob("*.js")]
    assert len(scripts) > 20
    for script, at in scripts:
        for name in re.findall(r'(?:from |import\()"(\.[\w./-]+\.js)"', script.read_text()):
            url = urljoin(f"/{at}/{script.relative_to(places[at]).as_posix()}", name)
            assert client.get(url).status_code == 200, f"{script.name}: {name}"


def test_page_asks_nothing_of_other_hosts(client: TestClient) -> None:
    config = client.get("/config").json()
    assert "http" not in json.dumps(config.get("head"))
    assert not config.get("css")
    assert "fonts.googleapis" not in client.get("/").text


def test_about_links_what_this_is_made_of(client: TestClient, demo_data: DemoData) -> None:
    said = about_data(demo_data)
    shown = [c["props"].get("value") for c in client.get("/config").json()["components"]]
    assert said.strip() in shown
    links = re.findall(r"\]\((\S+?)\)", said)
    assert links == ["https://arxiv.org/abs/2606.20482", f"https://github.com/{REPOSITORY}"]
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert links[0] in cited and "license: Apache-2.0" in cited and "Apache License 2.0" in said


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


def test_sessions_tab_is_hidden_until_the_operator_is_known(client: TestClient) -> None:
    tabs = {
        c["props"]["label"]: c["props"]["visible"]
        for c in client.get("/config").json()["components"]
        if c["type"] == "tabitem"
    }
    assert tabs["Explore"] and tabs["Score"]
    assert tabs["Collected sessions"] is False and tabs["Status"] is False


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
            "/capture/",
        ):
            answer = client.get(f"{route}{path}")
            assert path.read_bytes() != answer.content, f"{route}{path}"
            assert path.read_text(errors="replace")[:40] not in answer.text, f"{route}{path}"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../shell.py",
        "/capture/../settings.py",
        "/capture/..%2fsettings.py",
        "/capture/%2e%2e/settings.py",
        "/capture/..%5csettings.py",
        "/gradio_api/file=page/../ifllm_space/shell.py",
        "/gradio_api/file=spaces/app.py",
        "/static/../../app.py",
    ],
)
def test_path_tricks_find_nothing(client: TestClient, path: str) -> None:
    assert "import" not in client.get(path).text.replace("modulepreload", "")[:300]
    assert "class Settings" not in client.get(path).text
    assert "def build_app" not in client.get(path).text


def test_nobody_can_put_files_on_the_server(client: TestClient) -> None:
    answer = client.post("/gradio_api/upload", files={"files": ("x.txt", b"a" * 5000)})
    assert answer.status_code >= 400


def test_page_carries_no_secret_and_no_path(client: TestClient, folder: Path) -> None:
    said = client.get("/").text + client.get("/config").text
    assert "x" * 40 not in said
    assert str(folder) not in said
    assert "legal_basis" not in said
