from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from ifllm_hf.cli import main
from ifllm_hf.errors import ConfigError, OutputError, TableError
from ifllm_hf.hub.publish.model import push_model
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, TICKS

REPO = "lab/reward-test"

# What a stranger's process does: our package cannot be imported there.
_STRANGER = """
import json, sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "ifllm_hf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere())
plain, pushed, question, answers, ticks = json.loads(sys.stdin.read())
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor, pipeline

found = {}
model = AutoModelForSequenceClassification.from_pretrained(plain, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(plain, trust_remote_code=True)
batch = processor(question, answers, ticks, return_tensors="pt")
with torch.no_grad():
    found["model"] = model(**batch).rewards[:, 0].tolist()
scorer = pipeline("implicit-reward", model=pushed, trust_remote_code=True, device="cpu")
found["pipeline"] = [row["score"] for row in scorer(question, answers, ticks)]
found["body"] = type(AutoModel.from_pretrained(pushed, trust_remote_code=True)).__name__
try:
    processor(question, answers, {**ticks, "t_ms": ticks["t_ms"][::-1]})
except ValueError as error:
    found["error"] = str(error)
found["ours"] = sorted(name for name in sys.modules if name.split(".")[0] == "ifllm_hf")
print(json.dumps(found))
"""


def test_a_stranger_gets_the_same_scores_from_the_hub(
    hub: Any, parts: tuple[Any, Any], saved: Path, tmp_path: Path
) -> None:
    model, processor = parts
    with torch.no_grad():
        batch = processor(QUESTION, ANSWERS, TICKS, return_tensors="pt")
        scores = model(**batch).rewards[:, 0].tolist()
    model.push_to_hub("lab/plain")
    processor.push_to_hub("lab/plain")
    push_model(saved, REPO)
    done = subprocess.run(
        [sys.executable, "-c", _STRANGER],
        input=json.dumps(["lab/plain", REPO, QUESTION, ANSWERS, TICKS]),
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            **hub.env(tmp_path / "hf", token=False),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["model"] == pytest.approx(scores, abs=1e-6)
    assert found["pipeline"] == pytest.approx(scores, abs=1e-6)
    assert found["body"] == "IFLLMModel"
    assert "row 0, field 't_ms'" in found["error"]
    assert found["ours"] == []


def test_push_is_one_commit_with_weights_code_and_card(hub: Any, saved: Path) -> None:
    (saved / "optimizer.pt").write_bytes(b"big")
    (saved / "checkpoint-5").mkdir()
    (saved / "checkpoint-5" / "model.safetensors").write_bytes(b"old")
    url = push_model(saved, REPO, private=True)
    assert url == f"{hub.url}/{REPO}"
    repo = hub.repos["models", REPO]
    assert repo.private and len(repo.commits) == 2
    files = hub.files(REPO, "models")
    assert {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "run.json",
        "benchmark.json",
        "README.md",
        "pipeline_ifllm.py",
        "modeling_ifllm.py",
        "processing_ifllm.py",
        "data_error.py",
    } <= set(files)
    assert not {name for name in files if "optimizer" in name or "/" in name}
    for name, content in files.items():
        if name.endswith((".json", ".md")):
            assert b"/somewhere" not in content, name
    config = json.loads(files["config.json"])
    assert set(config["auto_map"]) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForSequenceClassification",
    }
    assert "implicit-reward" in config["custom_pipelines"]


def test_what_an_older_upload_had_more_is_deleted(hub: Any, saved: Path) -> None:
    push_model(saved, REPO)
    (saved / "benchmark.json").unlink()
    push_model(saved, REPO)
    assert "benchmark.json" not in hub.files(REPO, "models")
    assert len(hub.repos["models", REPO].commits) == 3


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("model.safetensors", "holds no weights"),
        ("config.json", "holds no config"),
        ("processor_config.json", "holds no processor"),
    ],
)
def test_half_a_model_is_not_pushed(hub: Any, saved: Path, missing: str, says: str) -> None:
    (saved / missing).unlink()
    with pytest.raises(TableError, match=says):
        push_model(saved, REPO)
    assert not hub.repos


def test_other_models_are_not_pushed(hub: Any, saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "model_type": "bert"}))
    with pytest.raises(TableError, match="model_type is 'bert'"):
        push_model(saved, REPO)
    (saved / "adapter_config.json").write_text("{}")
    with pytest.raises(TableError, match="Merge it first"):
        push_model(saved, REPO)
    with pytest.raises(ConfigError, match="ORG/NAME"):
        push_model(saved, "reward")
    assert not hub.repos


def test_the_command_line_pushes_and_explains(
    hub: Any, saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["push", "model", REPO, "--from", str(saved)]) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/{REPO}"
    with pytest.raises(OutputError, match="refused to write"):
        push_model(saved, "elsewhere/reward")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert main(["push", "model", REPO, "--from", str(saved)]) == 1
    assert "hf auth login" in capsys.readouterr().err


def test_heads_go_up_with_the_readers_that_they_have_seen() -> None:
    from ifllm_hf import pretrained
    from ifllm_hf.hub.publish.model import model_files

    config = json.loads((pretrained() / "config.json").read_text())
    sent = model_files(pretrained(), "ORG/late-reading", config)
    assert {"model.safetensors", "heads.safetensors", "readers.json"} <= sent.keys()
