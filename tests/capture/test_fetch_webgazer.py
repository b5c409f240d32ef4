"""WebGazer comes only when an operator asks for it: the pinned package, into a folder outside."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from fastapi import FastAPI

from ifllm_hf.capture import fetch_webgazer
from ifllm_hf.capture.fetch_webgazer import fetch, main, mount_webgazer, unpack
from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError, DownloadError, OutputError
from ifllm_hf.files import shipped_folder


def archive(path: Path) -> str:
    """Make what npm would send; return its sha256."""
    with tarfile.open(path, "w:gz") as tar:
        for name in (
            "package/dist/webgazer.js",
            "package/dist/webgazer.js.map",
            "package/dist/mediapipe/face_mesh/face_mesh.js",
            "package/dist/mediapipe/../../../evil.js",
            "package/src/index.mjs",
            "package/LICENSE.md",
        ):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_the_page_needs_is_unpacked_and_nothing_else(tmp_path: Path) -> None:
    sha256 = archive(tmp_path / "w.tgz")
    unpack(tmp_path / "w.tgz", tmp_path / "out", sha256)
    files = {str(f.relative_to(tmp_path / "out")) for f in tmp_path.glob("out/**/*") if f.is_file()}
    assert files == {"webgazer.js", "mediapipe/face_mesh/face_mesh.js", "LICENSE.md"}
    assert not list(tmp_path.rglob("evil.js"))


def test_another_archive_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "w.tgz")
    with pytest.raises(DownloadError, match="expected ddb577d3"):
        unpack(tmp_path / "w.tgz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_the_licence_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch_webgazer, "fetch", lambda folder: pytest.fail("was fetched"))
    assert main([str(tmp_path / "w")]) == 1
    assert "GPL-3.0-or-later" in capsys.readouterr().err


def test_it_never_comes_into_the_package_or_the_app(tmp_path: Path) -> None:
    for ours in (Path(fetch_webgazer.__file__).parent, shipped_folder("spaces")):
        with pytest.raises(OutputError, match="Choose a place outside"):
            fetch(ours / "vendor")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="not empty"):
        fetch(tmp_path)


def test_an_empty_folder_is_no_webgazer(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no webgazer\.js"):
        mount_webgazer(FastAPI(), Settings(webgazer=tmp_path))
    mount_webgazer(FastAPI(), Settings())


def test_no_gpl_code_is_in_the_tree() -> None:
    root = Path(__file__).parents[2]
    for file in [*root.glob("spaces/**/*.js"), *root.glob("ifllm_hf/**/*.js")]:
        text = file.read_text(encoding="utf-8")
        assert len(text) < 60_000 and "GNU General Public License" not in text, file
