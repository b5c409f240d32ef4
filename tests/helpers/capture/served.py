"""`ifllm serve` as an operator runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.fresh_process import with_package
from tests.helpers.spaces.running import free_port, wait_until


class Served:
    """A process that serves pages of some origins below a prefix; `stop` it at the end."""

    def __init__(self, folder: Path, *origins: str, prefix: str = "") -> None:
        self.sessions, self.log = folder / "sessions", folder / "log.txt"
        self.port = free_port()
        environment = {k: v for k, v in with_package().items() if not k.startswith("IFLLM_")}
        environment |= {"IFLLM_SPACE_CONTACT": "a@b.example", "IFLLM_SPACE_LEGAL_BASIS": "a test"}
        command = [sys.executable, "-W", "error", "-m", "ifllm_hf", "serve", "--sessions"]
        command += [str(self.sessions), "--port", str(self.port), "--path-prefix", prefix]
        command += [word for origin in origins for word in ("--origin", origin)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        wait_until(self._listens, "the server starts", 60)

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return b"Open http" in self.log.read_bytes()

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the only session."""
        (file,) = self.sessions.glob("*.jsonl")
        return [json.loads(line) for line in file.read_bytes().splitlines()]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
