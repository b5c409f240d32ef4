"""Which recipe runs by itself, on machines that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.training import default_recipe
from ifllm_hf.training.default_recipe import Offer, Weights, choose_recipe
from ifllm_hf.training.device import Device, this_device
from ifllm_hf.training.without_config import offers

OFFERS = [
    Offer(Path("large.yaml"), "org/large", 40.0, 60.0),
    Offer(Path("small.yaml"), "org/small", 4.6, 3.1),
    Offer(Path("middle.yaml"), "org/middle", 8.0, 6.2),
]
SMOKE = Path("smoke.yaml")


def gpu(free_gb: float, *, bf16: bool = True) -> Device:
    return Device("A GPU", True, bf16, free_gb)


@pytest.mark.parametrize(
    ("device", "weights", "file", "words"),
    [
        (Device(), {"org/small"}, "smoke.yaml", ["no GPU"]),
        (gpu(80), {"org/small", "org/large"}, "small.yaml", ["org/small", "4.6 GB", "3.1 GB"]),
        (gpu(4.6), {"org/small"}, "small.yaml", ["A GPU, 4.6 GB free"]),
        (gpu(4.5), {"org/small"}, "smoke.yaml", ["4.5 GB free", "org/small needs 4.6 GB"]),
        (gpu(80), {"org/middle"}, "middle.yaml", ["6.2 GB"]),
        (gpu(10), {"org/large"}, "smoke.yaml", ["no weights", "org/small, org/middle"]),
        (gpu(80), set(), "smoke.yaml", ["no weights"]),
        (gpu(80, bf16=False), {"org/small"}, "smoke.yaml", ["bfloat16"]),
    ],
)
def test_the_smallest_that_fits_and_can_be_had_else_the_dry_run(
    device: Device, weights: set[str], file: str, words: list[str]
) -> None:
    chosen = choose_recipe(device, OFFERS, SMOKE, weights.__contains__)
    assert chosen.file.name == file
    assert all(word in chosen.said for word in words), chosen.said
    assert "\n" not in chosen.said and ("dry run" in chosen.said) == (file == "smoke.yaml")


def test_the_hub_is_asked_of_one_model_where_one_will_do() -> None:
    asked: list[str] = []

    def ask(model: str) -> bool:
        asked.append(model)
        return True

    choose_recipe(gpu(80), OFFERS, SMOKE, ask)
    choose_recipe(Device(), OFFERS, SMOKE, ask)
    assert asked == ["org/small"]


def test_what_a_model_needs_stands_in_the_head_of_its_recipe() -> None:
    found = {offer.file.stem: offer for offer in offers("dpo")}
    assert len(found) == 8 and offers("sft") == offers("dpo")
    assert found["qwen2.5-1.5b"] == min(
        found.values(), key=lambda offer: (offer.memory_gb, offer.download_gb)
    )
    assert found["qwen3-4b"].model == "Qwen/Qwen3-4B-Base"
    assert (found["qwen3-4b"].memory_gb, found["qwen3-4b"].download_gb) == (8.4, 8.0)
    (reward,) = offers("reward")
    assert (reward.file.stem, reward.model) == ("reward", "answerdotai/ModernBERT-base")
    assert (reward.memory_gb, reward.download_gb) == (8.4, 0.6)


def test_without_network_the_hub_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[str] = []

    def no_network(self: Any, model: str) -> None:
        asked.append(model)
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", no_network)
    monkeypatch.setattr(default_recipe, "_is_cached", lambda model: model == "org/large")
    weights = Weights()
    assert [weights.can_be_had(offer.model) for offer in OFFERS] == [True, False, False]
    assert asked == ["org/small"]


def test_weights_are_in_the_cache_only_with_all_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}))

    def in_cache(model: str, name: str) -> str | None:
        return str(tmp_path / name) if (tmp_path / name).exists() else None

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", in_cache)
    (tmp_path / "1.safetensors").touch()
    assert not default_recipe._is_cached("org/large")
    (tmp_path / "2.safetensors").touch()
    assert default_recipe._is_cached("org/large")
    index.unlink()
    assert not default_recipe._is_cached("org/large")
    (tmp_path / "model.safetensors").touch()
    assert default_recipe._is_cached("org/large")


def test_the_device_is_seen_alike_by_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    for name in ("ACCELERATE_USE_CPU", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert this_device() == Device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "A GPU")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda i: (20_000_000_000, 80_000_000_000))
    total = [type("Of", (), {"total_memory": gb * 10**9}) for gb in (80, 24)]
    monkeypatch.setattr(torch.cuda, "get_device_properties", total.__getitem__)
    monkeypatch.setattr("transformers.utils.is_torch_bf16_gpu_available", lambda: True)
    assert this_device() == gpu(20.0)  # what nobody else uses
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert this_device() == gpu(24.0)  # of the smaller one, whoever looks
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # accelerate launch --cpu
    assert this_device() == Device()
