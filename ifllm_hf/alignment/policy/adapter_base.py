"""An adapter belongs to one base: told by the name it keeps and by its shapes, before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.pretrained import loading
from ifllm_hf.training.run_record import public_name
from ifllm_hf.training.tiny_models import TINY_PREFIX

if TYPE_CHECKING:
    from trl import DPOConfig, SFTConfig

    from ifllm_hf.alignment.policy.config import PolicyConfig

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def refuse_adapter_as_model(name: str) -> None:
    """Refuse the folder of an adapter as `model_name_or_path`.

    Raises:
        ConfigError: It is one.
    """
    folder = Path(name)
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return
    base = _read(folder / ADAPTER_CONFIG, name).get("base_model_name_or_path")
    raise ConfigError(
        f"model_name_or_path {name} is an adapter of {base} and no model; name that base, and for "
        f"DPO --sft_adapter {name}"
    )


def check_adapter(place: str, setting: str, policy: PolicyConfig, training: Any) -> None:
    """Refuse an adapter that was trained on another base than the one it would be put on.

    Args:
        place: A folder, or an adapter on the Hub.
        setting: What named it, for messages.
        policy: Names the base; its `public_name` counts where it has one.
        training: Whether the base's own code is trusted.

    Raises:
        ConfigError: It is no adapter, its base has another name, or layers that it changes are not
            there or have another shape.
    """
    config = _read(_file(place, ADAPTER_CONFIG, setting), f"{setting} {place}")
    model = str(policy.model_name_or_path)
    trained_on = str(config.get("base_model_name_or_path"))
    here = str(policy.public_name or model)
    if _last(trained_on) != _last(here):
        raise ConfigError(
            f"{setting} {place} was trained on {trained_on}, and model_name_or_path is {here}; "
            f"name that base (where {public_name(model)} holds its weights under another name: "
            f"--public_name {trained_on})"
        )
    if config.get("peft_type") == "LORA" and not model.startswith(TINY_PREFIX):
        wrong = _misfit(_shapes(place, setting), _layers(model, policy, training))
        if wrong:
            raise ConfigError(
                f"{setting} {place} does not fit {model}: {wrong}; name the base that it was "
                "trained on"
            )


def _file(place: str, name: str, setting: str) -> Path:
    """Return a file of an adapter, downloaded where it lies on the Hub."""
    folder = Path(place)
    if folder.exists():
        if not (folder / ADAPTER_CONFIG).is_file():
            raise ConfigError(
                f"{setting} {place}: no {ADAPTER_CONFIG} there; name the folder of a LoRA adapter"
            )
        return folder / name
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(hf_hub_download(place, name))
    except (OSError, HFValidationError) as error:  # what the Hub and its client raise
        raise ConfigError(
            f"{setting} {place}: no such folder, and no adapter on the Hub that this machine can "
            f"get ({' '.join(str(error).split())[:200]}); name one that holds {name}"
        ) from error


def _read(file: Path, what: str) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{what}: {ADAPTER_CONFIG} cannot be read ({error}); train it again"
        ) from error
    return config


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def _shapes(place: str, setting: str) -> dict[str, list[int]]:
    """Return the shapes in the file of weights; nothing where they lie in another form."""
    from safetensors import safe_open

    if Path(place).is_dir() and not (Path(place) / ADAPTER_WEIGHTS).is_file():
        return {}
    with safe_open(_file(place, ADAPTER_WEIGHTS, setting), framework="pt") as weights:
        return {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118


def _layers(
    model: str, policy: PolicyConfig, training: DPOConfig | SFTConfig
) -> dict[str, tuple[int, int] | None]:
    """Return how many values each layer takes and gives, by name; None where it is no plain one.

    Empty where the model cannot be made without its weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    trusted = training.trust_remote_code
    with loading(model, trust_remote_code=trusted) as options:
        config = AutoConfig.from_pretrained(model, revision=policy.model_revision, **options)
    try:
        with torch.device("meta"):  # shapes alone: no memory, no time
            empty = AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    except (ValueError, TypeError, RuntimeError, ImportError):
        return {}
    found: dict[str, tuple[int, int] | None] = {}
    for name, part in empty.named_modules():
        weight = getattr(part, "weight", None)
        found[name] = None
        if weight is not None and weight.dim() == 2:
            first, second = weight.shape
            # GPT-2's Conv1D keeps its weights the other way round than Linear.
            found[name] = (first, second) if type(part).__name__ == "Conv1D" else (second, first)
    return found


def _misfit(shapes: dict[str, list[int]], layers: dict[str, tuple[int, int] | None]) -> str | None:
    """Say which layer of an adapter has no counterpart of its shape; None: all fit."""
    for key, shape in sorted(shapes.items()):
        name, _, part = key.removeprefix("base_model.model.").rpartition(".lora_")
        if not name or part not in ("A.weight", "B.weight") or not layers:
            continue  # embeddings and layers that are trained whole
        if name not in layers:
            return f"it changes {name}, which is not there"
        if (size := layers[name]) is None:
            continue
        takes, gives = size
        have, need = (shape[1], takes) if part == "A.weight" else (shape[0], gives)
        if have != need:
            side = "takes" if part == "A.weight" else "gives"
            return f"{name} {side} {need} values, and the adapter is made for {have}"
    return None
