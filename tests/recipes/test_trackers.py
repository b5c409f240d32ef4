"""`report_to: trackio`: a run is followed on this machine, and nobody is asked on the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


class Line(torch.nn.Module):
    """One weight; the settings are the recipe's, the model need not be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor, **_: Any) -> dict[str, torch.Tensor]:
        return {"loss": ((self.weight * x - labels) ** 2).mean()}


def test_trackio_keeps_what_a_recipe_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed; the extra `test` brings it")
    from trackio import sqlite_storage

    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.training.recipe_arguments import parse_recipe

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"asked {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    words = [
        *("--config", "sft-smoke", "--output_dir", str(tmp_path / "out"), "--max_steps", "3"),
        *("--report_to", "trackio", "--project", "ifllm", "--run_name", "smoke"),
        *("--logging_steps", "1", "--disable_tqdm", "true", "--dataloader_pin_memory", "false"),
        *("--eval_strategy", "no", "--save_strategy", "no", "--remove_unused_columns", "false"),
    ]
    _, training, _ = parse_recipe((PairDataConfig, PairSFTConfig, PolicyConfig), words)
    rows = [{"x": torch.ones(1), "labels": torch.ones(1)}] * 32
    Trainer(Line(), training, train_dataset=rows).train()
    kept = sqlite_storage.SQLiteStorage.get_logs("ifllm", "smoke")
    losses = [row["train/loss"] for row in kept if "train/loss" in row]
    assert len(losses) == 3 and losses[-1] < losses[0]
    said = sqlite_storage.SQLiteStorage.get_run_config("ifllm", "smoke")
    assert said["learning_rate"] == training.learning_rate and said["max_steps"] == 3
