"""Ready answers, a small judging run over them, and a judge at the other end of a socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.training.settings_file import build


def answers(path: Path, say: Callable[[int], str]) -> str:
    rows = [{"question": f"Why {i}?", "answer": say(i)} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def config(tmp_path: Path, questions: Path, **values: Any) -> JudgeConfig:
    before = answers(tmp_path / "before.jsonl", lambda i: "word " * (3 + i % 4))
    small = answers(tmp_path / "small.jsonl", lambda i: "word " * (4 + i % 4))
    large = answers(tmp_path / "large.jsonl", lambda i: "word " * (6 + i % 4))
    made = {
        "baseline": {"name": "sft", "answers": before},
        "candidates": [{"name": "explicit", "answers": small}, {"name": "both", "answers": large}],
        "prompts": {"dataset": str(questions), "fold": 0},
        "judge": {"kind": "people"},
        "draws": 40,
        "output_dir": str(tmp_path / "out"),
        **values,
    }
    return build(JudgeConfig, made, "test")


def endpoint(server: Any, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "endpoint", "model": "judge-1", "base_url": server.url, "api_key_env": "JUDGE_KEY",
        "timeout_s": 5.0, "concurrency": 2, **settings,
    }  # fmt: skip


def smallest(**judge: Any) -> dict[str, Any]:
    return {
        "baseline": {"name": "a", "model": "m"}, "candidates": [{"name": "b", "adapter": "x"}],
        "judge": {"kind": "people", **judge},
    }  # fmt: skip
