"""The Space as a folder: complete, pinned, and running from nothing but itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import ifllm_hf
from ifllm_hf.cli import main
from ifllm_hf.errors import ConfigError, TableError
from ifllm_hf.hub.publish.space import pinned_requirements, push_space

REPO = "lab/readers"
# What a Space has: its folder and what requirements.txt named. Anything else is out of reach.
ALONE = """
import runpy, socket, sys
real = socket.socket.connect
def connect(self, address):
    host = address[0] if isinstance(address, tuple) else ""
    if host not in ("127.0.0.1", "::1", "localhost", ""):
        sys.stderr.write(f"REACHED FOR {address}\\n")
        raise OSError("no network here")
    return real(self, address)
socket.socket.connect = connect
look_up = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host not in (None, "127.0.0.1", "::1", "localhost", "0.0.0.0"):
        sys.stderr.write(f"LOOKED UP {host}\\n")
        raise OSError("no network here")
    return look_up(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
import ifllm_hf, ifllm_space
sys.stderr.write(f"package {ifllm_hf.__file__}\\napp {ifllm_space.__file__}\\n")
sys.argv = ["app.py"]
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.fixture(scope="module")
def pushed(
    hub_of_module: Any, prepared_synthetic: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """A Space that `ifllm push space` made, downloaded again."""
    assert main(["push", "space", REPO, "--from", str(prepared_synthetic)]) == 0
    push_space(prepared_synthetic, REPO)
    place = tmp_path_factory.mktemp("downloaded")
    for name, data in hub_of_module.files(REPO, "spaces").items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place, hub_of_module.repos["spaces", REPO]


def test_space_is_a_gradio_one_with_a_valid_card(pushed: tuple[Path, Any]) -> None:
    folder, repo = pushed
    assert repo.sdk == "gradio"
    card = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py"
    assert card["sdk_version"] == version("gradio")
    assert len(card["short_description"]) <= 60
    text = (folder / "README.md").read_text()
    assert "{{" not in text and "**The data here is made up**" in text
    assert "public IFLLM release" not in text


def test_folder_holds_app_package_data_and_model_and_nothing_else(pushed: tuple[Path, Any]) -> None:
    folder, _ = pushed
    top = {path.name for path in folder.iterdir()}
    assert top == {
        "app.py", "ifllm_space", "ifllm_hf", "data", "model", "requirements.txt", "README.md",
    }  # fmt: skip
    assert {p.name for p in (folder / "data").iterdir()} == {"README.md", "pairwise", "pointwise"}
    inside = [path.relative_to(folder) for path in folder.rglob("*")]
    assert not [path for path in inside if "__pycache__" in path.parts]
    # The package's room of that name goes along; recordings never do.
    kept = [path for path in inside if "sessions" in path.parts and path.suffix]
    assert {path.parts[:3] for path in kept} == {("ifllm_hf", "data", "sessions")}
    assert {path.suffix for path in kept} == {".py", ".json", ".md"}


def test_requirements_are_pinned_and_cover_what_is_imported(pushed: tuple[Path, Any]) -> None:
    folder, _ = pushed
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert ifllm_hf.__version__ in lines[0]
    for line in lines[1:]:
        name, pin = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", line).groups()  # type: ignore[union-attr]
        assert version(name) == pin
    names = {re.split(r"[\[=]", line)[0] for line in lines[1:]}
    assert {"gradio", "polars", "scikit-learn", "skops", "numpy"} <= names
    assert not {"torch", "trl", "ifllm-hf"} & names  # a Space starts in a minute


def test_second_push_leaves_no_old_file(pushed: tuple[Path, Any]) -> None:
    _, repo = pushed
    first, second = (set(commit.files) for commit in repo.commits[-2:])
    assert first == second
    assert [c.message for c in repo.commits[1:]] == ["Upload the IFLLM Space"] * 2


def test_folder_runs_alone_and_fetches_nothing(pushed: tuple[Path, Any], tmp_path: Path) -> None:
    import socket

    folder, _ = pushed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # -S: the packages are there, but no editable install of ours.
    site = sysconfig.get_paths()["purelib"]
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": site,
        "PYTHONDONTWRITEBYTECODE": "1",
        "GRADIO_SERVER_PORT": str(port),
        "SPACE_ID": REPO,
        "OMP_NUM_THREADS": "1",
        "IFLLM_SPACE_SESSIONS": str(tmp_path / "sessions"),
        "IFLLM_SPACE_CONTACT": "lab@example.org",
        "IFLLM_SPACE_LEGAL_BASIS": "a test",
    }
    output = tmp_path / "output.txt"
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    with output.open("wb") as log:
        app = subprocess.Popen(
            [sys.executable, "-S", "-c", ALONE], cwd=folder, env=env, stdout=log, stderr=log
        )
        try:
            page = _first_answer(f"http://127.0.0.1:{port}/", app, output)
            config = urllib.request.urlopen(f"http://127.0.0.1:{port}/config", timeout=20).read()
            script = urllib.request.urlopen(
                f"http://127.0.0.1:{port}/page/score/score.js", timeout=20
            )
            assert script.status == 200
            session = _take_part(f"http://127.0.0.1:{port}/api/v1/")
        finally:
            app.terminate()
            app.wait(20)
    said = output.read_text()
    assert b"What readers look at" in page + config
    assert f"package {folder}" in said and f"app {folder}" in said
    assert "REACHED FOR" not in said and "LOOKED UP" not in said, said
    assert "127.0.0.1" not in said.replace("http://localhost", "")  # no address in any log
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before
    kept = (tmp_path / "sessions" / f"{session}.jsonl").read_text().splitlines()
    kinds = [json.loads(line)["type"] for line in kept]
    assert kinds == ["session", "turn", "batch", "rating", "end"]


def _take_part(routes: str) -> str:
    """Take a session as a browser does that has the recorder alone; return its id."""

    def post(route: str, **body: Any) -> dict[str, Any]:
        with urllib.request.urlopen(
            routes + route, json.dumps(body).encode(), timeout=20
        ) as answer:
            said: dict[str, Any] = json.load(answer)
        assert said["ok"], said
        return said

    page = post("steps", step="begin")
    opened = post("steps", step="consent", version=page["consent"]["version"], adult=True)
    who = {name: opened[name] for name in ("session", "token")}
    question = page["answers"]["questions"]["pairwise"][0]
    shown = post("steps", step="ask", kind="pairwise", question=question, **who)["shown"]
    times = {"origin_epoch_ms": 1.7e12, "sent_epoch_ms": 1.7e12}
    events = [["p", 1.5, shown["turn"], "A", 10, 20, 3, 4, 0, 0, 1, "mouse"]]
    post("events", v=2, tab="tabtabtab", seq=0, **times, events=events, **who)
    post("steps", step="rate", turn=0, likert_a=2, likert_b=5, preference="b", **who)
    post("steps", step="end", **who)
    return str(opened["session"])


def _first_answer(url: str, app: subprocess.Popen[bytes], output: Path) -> bytes:
    end = time.monotonic() + 90
    while time.monotonic() < end and app.poll() is None:
        try:
            return bytes(urllib.request.urlopen(url, timeout=20).read())
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"the app did not come up: {output.read_text()[-3000:]}")


@pytest.mark.parametrize("repo_id", ["readers", "a/b/c", ""])
def test_name_without_organisation_is_refused(prepared_synthetic: Path, repo_id: str) -> None:
    with pytest.raises(ConfigError, match="Expected ORG/NAME"):
        push_space(prepared_synthetic, repo_id)


def test_folder_must_be_a_prepared_one(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="not a prepared folder"):
        push_space(tmp_path, REPO)


def test_missing_dependency_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata as metadata

    import ifllm_hf.hub.publish.space as space

    def version_of(name: str) -> str:
        if name == "gradio":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(space, "version", version_of)
    with pytest.raises(ConfigError, match=r"gradio is not installed.*\[space\]"):
        pinned_requirements()
