"""Fetch WebGazer for the optional webcam: a step of its own, because of its licence.

python -m ifllm_hf.capture.fetch_webgazer ~/webgazer          # shows the licence, fetches nothing
python -m ifllm_hf.capture.fetch_webgazer ~/webgazer --accept-licence
export IFLLM_SPACE_WEBGAZER=~/webgazer

WebGazer is GPL-3.0-or-later (LGPL-3.0 for small companies, see its LICENSE.md). It is never part of
this package, which stays Apache-2.0; it is served unchanged from the folder that you name.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from ifllm_hf.capture.settings import Settings
from ifllm_hf.errors import ConfigError, DownloadError, IFLLMError, OutputError
from ifllm_hf.files import digest, package_folder, shipped_folder

PACKAGE = "webgazer@3.5.3"
SHA256 = "ddb577d3b971ce62018cce17e197546fcdc3db9eb51b57cf995b7ca777ca2443"
MAIN, LICENCE = "webgazer.js", "LICENSE.md"
_WANTED = ("dist/webgazer.js", "dist/mediapipe/", LICENCE)


def mount_webgazer(app: FastAPI, settings: Settings, prefix: str = "") -> None:
    """Serve the fetched folder under `webgazer/`; nothing without one.

    Raises:
        ConfigError: The folder does not hold WebGazer.
    """
    folder = settings.webgazer
    if folder is None:
        return
    if not (folder / MAIN).is_file():
        raise ConfigError(
            f"$IFLLM_SPACE_WEBGAZER is {folder}, which holds no {MAIN}. Expected what `python -m "
            "ifllm_hf.capture.fetch_webgazer FOLDER` wrote; fetch it, or unset the variable."
        )
    app.mount(f"{prefix}/webgazer", StaticFiles(directory=folder), name="webgazer")


def fetch(folder: Path) -> None:
    """Put WebGazer into a folder.

    Raises:
        OutputError: The folder holds something, or lies in this package.
        DownloadError: npm failed, or what came is not the pinned package.
    """
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder}: is not empty. Choose a new folder.")
    for ours in (package_folder(), _app_folder()):
        if ours.resolve() in folder.resolve().parents:
            raise OutputError(
                f"{folder}: lies in {ours}, which is Apache-2.0. Choose a place outside."
            )
    with tempfile.TemporaryDirectory(prefix="webgazer-") as place:
        unpack(_npm_pack(Path(place)), folder)


def _app_folder() -> Path:
    """Return the folder of the app: what `ifllm push space` uploads, or what it uploaded."""
    try:
        return shipped_folder("spaces")
    except ConfigError:
        return package_folder().parent


def unpack(archive: Path, folder: Path, sha256: str = SHA256) -> None:
    """Unpack what a page needs from npm's archive.

    Raises:
        DownloadError: It is not the pinned archive.
    """
    found = digest(archive.read_bytes())
    if found != sha256:
        raise DownloadError(
            f"{archive.name}: its sha256 is {found}, expected {sha256} of {PACKAGE}. Nothing was "
            "unpacked; ask your registry's operator."
        )
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            inner = member.name.removeprefix("package/")
            if not (member.isfile() and inner.startswith(_WANTED)) or inner.endswith(".map"):
                continue
            target = folder / inner.removeprefix("dist/")
            if ".." in target.parts:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            content = tar.extractfile(member)
            assert content is not None
            target.write_bytes(content.read())


def _npm_pack(place: Path) -> Path:
    if shutil.which("npm") is None:
        raise DownloadError("npm is not here. Install Node.js, or run this where it is.")
    command = ["npm", "pack", PACKAGE, "--silent"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=600)
    files = list(place.glob("*.tgz"))
    if done.returncode or not files:
        raise DownloadError(f"{' '.join(command)} failed: {done.stderr.strip() or 'no file came'}.")
    return files[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--accept-licence", action="store_true")
    arguments = parser.parse_args(argv)
    if not arguments.accept_licence:
        sys.stderr.write(f"{__doc__}\nRead the licence, then add --accept-licence.\n")
        return 1
    try:
        fetch(arguments.folder)
    except (IFLLMError, OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"fetch_webgazer: {error}\n")
        return 1
    sys.stderr.write((arguments.folder / LICENCE).read_text(encoding="utf-8"))
    sys.stderr.write(f"\nexport IFLLM_SPACE_WEBGAZER={arguments.folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
