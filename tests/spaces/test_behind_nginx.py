"""Uploads and the page behind a real nginx, as people set it up: none of ours is foreign."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from ifllm_hf.capture import attach
from ifllm_hf.capture.path_prefix import PathPrefix
from ifllm_hf.capture.server import SessionStore
from ifllm_space.demo_data import DemoData
from tests.helpers.capture.session_store import CONSENT, make_settings
from tests.helpers.missing import missing
from tests.helpers.spaces.application import build_space
from tests.helpers.spaces.running import free_port, wait_until

NAME = "space.example"
ADDRESSES = {
    "host": "proxy_set_header Host $host;",  # without the port
    "http_host": "proxy_set_header Host $http_host;",
    "proxy_host": "",  # nginx's default: the name of what is behind it
    "forwarded": "proxy_set_header X-Forwarded-Host $http_host;",
    "forwarded_host": "proxy_set_header X-Forwarded-Host $host;"
    " proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-For $remote_addr;",
    "rfc7239": 'proxy_set_header Forwarded "for=$remote_addr;host=\\"$http_host\\";proto=$scheme";',
}
PLACES = {"/": "/", "/app/": "/app/", "/app/ kept": "/app/"}


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[list[str]], None]]:
    """Start nginx with server blocks; nothing of this machine's own nginx is used."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        missing("nginx-light")
    running: list[subprocess.Popen[bytes]] = []

    def start(blocks: list[str]) -> None:
        place = tmp_path_factory.mktemp("nginx")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {place}/{kind};" for kind in kinds)
        (place / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {place}/pid; error_log {place}/errors;\n"
            "events { worker_connections 64; }\n"
            f"http {{ access_log off; {paths}\n" + "\n".join(blocks) + "\n}\n"
        )
        command = [program, "-p", str(place), "-c", str(place / "nginx.conf")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        running.append(process)
        wait_until((place / "pid").exists, "nginx starts")

    yield start
    for process in running:
        process.terminate()
        process.wait(10)


def serve(app: FastAPI) -> tuple[int, Callable[[], None]]:
    """Serve in a thread; return the port and what stops it."""
    port = free_port()
    config = uvicorn.Config(app, port=port, log_level="warning", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the app starts", 30)

    def stop() -> None:
        server.should_exit = True
        thread.join(10)

    return port, stop


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    """Ask as a browser would that reached the proxy by its name, over plain HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = None if body is None else json.dumps(body).encode()
    own = {"Host": f"{NAME}:{port}", **({"Origin": f"http://{NAME}:{port}"} if sent else {})}
    connection.request(method, path, sent, {**own, **headers})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


@pytest.fixture(scope="module")
def stores(
    nginx: Callable[[list[str]], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], tuple[int, SessionStore]]]:
    """A proxy's port and the store behind it, for each kind of headers and each place."""
    folder = tmp_path_factory.mktemp("behind")
    stops, blocks, found = [], [], {}
    for place, location in PLACES.items():
        app = FastAPI()
        settings = make_settings(folder / place.replace("/", "_"), trusted_proxies=1)
        store = attach(app, settings=settings).store
        app.add_middleware(PathPrefix, root_path=location.rstrip("/"))
        behind, stop = serve(app)
        stops += [stop, store.close]
        upstream = f"http://127.0.0.1:{behind}" + ("" if place.endswith("kept") else "/")
        for kind, lines in ADDRESSES.items():
            port = free_port()
            found[kind, place] = port, store
            inside = f"location {location} {{ proxy_pass {upstream}; {lines} }}"
            blocks.append(f"server {{ listen 127.0.0.1:{port}; {inside} }}")
    nginx(blocks)
    yield found
    for stop in stops:
        stop()


def upload_of(store: SessionStore, **changes: Any) -> dict[str, Any]:
    opened = store.open_session(**CONSENT)
    times = {"origin_epoch_ms": 1.7e12, "sent_epoch_ms": 1.7e12}
    names = {"v": 2, "session": opened.session_id, "token": opened.token, "tab": "tabtabtab"}
    return {**names, **times, "seq": 0, "events": [["f", 1, 1]], **changes}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ADDRESSES)
def test_our_own_page_is_never_foreign(stores: Any, kind: str, place: str) -> None:
    port, store = stores[kind, place]
    events = PLACES[place] + "api/v1/events"
    status, said = ask(port, "POST", events, upload_of(store))
    assert (status, json.loads(said)["ok"]) == (200, True)
    shouted = {"Host": f"{NAME.upper()}:{port}", "Origin": f"http://{NAME}.:{port}"}
    assert ask(port, "POST", events, upload_of(store), **shouted)[0] == 200


@pytest.mark.parametrize("kind", ADDRESSES)
def test_strangers_get_nothing(stores: Any, kind: str) -> None:
    """By their origin where the proxy tells who we are; by the token wherever it does not."""
    port, store = stores[kind, "/"]
    evil = {"Origin": "http://evil.example"}
    if kind != "proxy_host":
        status, said = ask(port, "POST", "/api/v1/events", upload_of(store), **evil)
        assert (status, json.loads(said)["error"]) == (403, "cross_site")
    forged = upload_of(store, token="0" * 64)
    assert ask(port, "POST", "/api/v1/events", forged, **evil)[0] == 403
    foreign = {**evil, "Sec-Fetch-Site": "cross-site"}
    status, said = ask(port, "POST", "/api/v1/events", upload_of(store), **foreign)
    assert (status, json.loads(said)["error"]) == (403, "cross_site")


def test_what_nginx_answers_itself_is_not_in_our_words(
    nginx: Callable[[list[str]], None], stores: Any
) -> None:
    """A body limit, a server that is down, a place where nothing is: a browser keeps its batch."""
    _, store = stores["http_host", "/"]
    port = free_port()
    nginx(
        [
            f"server {{ listen 127.0.0.1:{port};"
            f" location /small/ {{ client_max_body_size 1; proxy_pass http://127.0.0.1:9/; }}"
            f" location /down/ {{ proxy_pass http://127.0.0.1:{free_port()}/; }} }}"
        ]
    )
    upload = upload_of(store)
    for path, expected in (("/small/", 413), ("/down/", 502), ("/else/", 404)):
        status, said = ask(port, "POST", f"{path}api/v1/events", upload)
        assert status == expected and "<html>" in said


@pytest.fixture(scope="module")
def page_port(
    nginx: Callable[[list[str]], None], demo_data: DemoData, tmp_path_factory: Any
) -> Iterator[int]:
    """The whole app below /app/ of another port."""
    sessions = tmp_path_factory.mktemp("page") / "sessions"
    behind, stop = serve(build_space(demo_data, make_settings(sessions, root_path="/app")))
    port = free_port()
    inside = "proxy_set_header Host $http_host; proxy_http_version 1.1;"
    nginx(
        [
            f"server {{ listen 127.0.0.1:{port};"
            f" location /app/ {{ proxy_pass http://127.0.0.1:{behind}/; {inside} }} }}"
        ]
    )
    yield port
    stop()


def test_the_page_below_a_prefix_finds_all_it_needs(page_port: int) -> None:
    status, html = ask(page_port, "GET", "/app/")
    assert status == 200
    root = re.search(r'"root":\s*"([^"]*)"', html)
    assert root and root[1] == f"http://{NAME}:{page_port}/app"
    for place in ("page/page.css", "capture/record/transport.js", "config", "theme.css"):
        assert ask(page_port, "GET", f"/app/{place}")[0] == 200, place
    assert ask(page_port, "GET", "/app")[0] in (301, 307)
    assert ask(page_port, "GET", "/page/page.css")[0] == 404
