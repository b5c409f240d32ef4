"""Recording on somebody's own application."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ifllm_hf.capture import attach
from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError
from tests.helpers.capture.session_store import make_settings

PAGE = "https://chat.example.org"


def test_it_stands_beside_what_the_application_has(tmp_path: Path) -> None:
    app = FastAPI()

    @app.get("/api/v1/events")
    def own() -> str:
        return "mine"

    settings = make_settings(Path("elsewhere"), origins=(PAGE,))
    capture = attach(app, tmp_path / "sessions", settings=settings, prefix="/ifllm")
    assert capture.store.folder == tmp_path / "sessions" and capture.store.folder.is_dir()
    with TestClient(app, headers={"Origin": PAGE}) as client:
        mine = client.get("/api/v1/events")
        assert mine.json() == "mine" and "access-control-allow-origin" not in mine.headers
        script = client.get("/ifllm/capture/record/sender.js")
        assert script.status_code == 200 and 'URL("../../api/v1/"' in script.text
        assert script.headers["access-control-allow-origin"] == PAGE
        begun = client.post("/ifllm/api/v1/steps", json={"step": "begin"})
        assert begun.json()["collects"] and begun.headers["access-control-allow-origin"] == PAGE
        assert client.get("/capture/record/sender.js").status_code == 404
    capture.store.close()


def test_nobody_takes_part_and_no_folder_is_made_without_an_operator(tmp_path: Path) -> None:
    app = FastAPI()
    attach(app, tmp_path / "sessions", settings=Settings())
    consent = {"step": "consent", "version": "1", "adult": True}
    assert TestClient(app).post("/api/v1/steps", json=consent).json()["error"] == "off"
    assert not (tmp_path / "sessions").exists()


def test_what_contradicts_itself_is_said(tmp_path: Path) -> None:
    for prefix in ("ifllm", "/ifllm/"):
        with pytest.raises(ConfigError, match="prefix"):
            attach(FastAPI(), tmp_path, settings=Settings(), prefix=prefix)
    with pytest.raises(ConfigError, match=r"ORIGINS.*as browsers write it: https://chat"):
        attach(FastAPI(), tmp_path, settings=Settings(origins=(f"{PAGE}:443",)))
    hub = make_settings(tmp_path, hub_dataset="lab/sessions", secret="s" * 64)
    with pytest.raises(ConfigError, match="push=HubPush"):
        attach(FastAPI(), settings=hub)
