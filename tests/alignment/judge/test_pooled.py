from __future__ import annotations

from pathlib import Path

import pytest

from ifllm_hf.alignment.judge.pooled import pool, pooled_markdown, read_items
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.errors import DataError
from tests.helpers.alignment.judging import answers, config, endpoint
from tests.helpers.loopback_judge import LoopbackJudge as Server


def test_runs_of_several_models_are_pooled(tmp_path: Path, questions: Path) -> None:
    reports, folders = {}, {}
    with Server() as server:
        for name, more in (("gpt2-xl", 1), ("qwen3", 3)):
            made = config(
                tmp_path, questions, judge=endpoint(server), output_dir=str(tmp_path / name)
            )
            answers(tmp_path / "small.jsonl", lambda i, k=more: "word " * (3 + i % 4 + k))  # type: ignore[misc]
            reports[name] = run_judge(made, progress=False)
            folders[name] = tmp_path / name
        other = {**endpoint(server), "model": "judge-2"}
        run_judge(config(tmp_path, questions, judge=other), progress=False)
    found = pool(folders, "explicit", draws=40)
    each = [
        r["candidates"]["explicit"]["relative_improvement"]["estimate"] for r in reports.values()
    ]
    pooled = found["candidates"]["explicit"]
    assert pooled["relative_improvement"]["estimate"] == pytest.approx(sum(each) / 2)
    assert (pooled["n"], pooled["workers"]) == (30, 3)
    text = pooled_markdown(found)
    assert "over 2 language models" in text and "both / explicit: 1.50" in text
    assert set(read_items(folders["qwen3"])) == {"explicit", "both"}
    with pytest.raises(DataError, match="2 judges"):
        pool({**folders, "third": tmp_path / "out"})
    with pytest.raises(DataError, match="judging run"):
        read_items(tmp_path)
