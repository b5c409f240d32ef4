"""Questions that nobody has reviewed reach no public repository, not even an old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.data.prepare import prepare
from ifllm_hf.data.sessions.made_up import write_sessions
from ifllm_hf.errors import ConfigError
from ifllm_hf.hub.publish import push_dataset


def test_unreviewed_questions_go_to_a_private_repository_alone(hub: Any, tmp_path: Path) -> None:
    from huggingface_hub import HfApi

    write_sessions(tmp_path / "sessions", 1, steps=5)
    prepare(tmp_path / "sessions", tmp_path / "out", progress=False)
    HfApi().create_repo("lab/old", repo_type="dataset", private=False)
    with pytest.raises(ConfigError, match="lab/old: is public already, and 2 questions"):
        push_dataset(tmp_path / "out", "lab/old", private=True)
    push_dataset(tmp_path / "out", "lab/new", private=True)
    assert HfApi().repo_info("lab/new", repo_type="dataset").private
