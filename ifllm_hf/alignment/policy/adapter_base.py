"""An adapter belongs to one base: told by weights, else name, and by shapes, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.policy.base_weights import has_weights_of
from ifllm_hf.alignment.policy.precision import run_of
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_json_object
from ifllm_hf.training.pretrained import loading
from ifllm_hf.training.run_record import public_name
from ifllm_hf.training.tiny_models import TINY_PREFIX

if TYPE_CHECKING:
    from ifllm_hf.alignment.policy.config import PolicyConfig

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_WEIGHTS = (ADAPTER_WEIGHTS, "adapter_model.bin")


def refuse_adapter_as_model(name: str) -> None:
    """Refuse the folder of an adapter as `model_name_or_path`.

    Raises:
        ConfigError: It is one.
    """
    folder = Path(name)
    if not (folder / ADAPTER_CONFIG).is_file() or (folder / "config.json").is_file():
        return
    base = read_json_object(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
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
        ConfigError: It is no adapter; its base has other weights, or another name where their
            fingerprint is not known; or layers that it changes are not there or of another shape.
    """
    file = _file(place, ADAPTER_CONFIG, setting)
    config = read_json_object(file)
    model = str(policy.model_name_or_path)
    trained_on = str(config.get("base_model_name_or_path"))
    here = str(policy.public_name or model)
    same = has_weights_of(run_of(file.parent), model, policy.model_revision)
    if same is False:
        raise ConfigError(
            f"{setting} {place} was trained on {trained_on} with other weights than those of "
            f"{public_name(model)}; name the base that it was trained on"
        )
    if same is None and _last(trained_on) != _last(here):
        raise ConfigError(
            f"{setting} {place} was trained on {trained_on}, and model_name_or_path is {here}; "
            f"name that base (where {public_name(model)} holds its weights under another name: "
            f"--public_name {trained_on})"
        )
    if not Path(place).is_dir():
        _file(place, ADAPTER_WEIGHTS, setting)
    shapes = adapter_shapes(file.parent)
    if config.get("peft_type") == "LORA" and not model.startswith(TINY_PREFIX):
        from transformers import AutoConfig

        trusted = training.trust_remote_code
        with loading(model, trust_remote_code=trusted) as options:
            of_base = AutoConfig.from_pretrained(model, revision=policy.model_revision, **options)
        empty = empty_model(of_base, trust_remote_code=trusted)
        if empty is not None and (wrong := misfit(empty, shapes)) is not None:
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


def _last(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]


def empty_model(config: Any, *, trust_remote_code: bool) -> Any | None:
    """Return a language model without memory for its weights; None where none can be made so.

    Args:
        config: Of the model.
        trust_remote_code: As for `loading`.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):  # shapes alone: no memory, no time
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    except (ValueError, TypeError, RuntimeError, ImportError):
        return None


def misfit(model: Any, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Say which weight of an adapter has no counterpart of its shape in a model; None: all fit.

    Args:
        model: The base; its weights are not looked at.
        shapes: Of the adapter, as `adapter_shapes` returns them.
    """
    found = (_misfit(model, name, shape) for name, shape in sorted(shapes.items()))
    return next((wrong for wrong in found if wrong is not None), None)


def adapter_shapes(adapter: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an adapter's weights by name; none where they lie in another form.

    Args:
        adapter: Its folder.

    Raises:
        ConfigError: The file of weights cannot be read.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    file = next((f for n in _WEIGHTS if (f := adapter / n).is_file()), None)
    if file is None:
        return {}  # FSDP shards a checkpoint in a way of its own
    try:
        if file.suffix == ".bin":
            stored = torch.load(file, map_location="cpu", weights_only=True)
            return {name: tuple(value.shape) for name, value in stored.items()}
        with safe_open(file, "pt") as opened:
            return {n: tuple(opened.get_slice(n).get_shape()) for n in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, RuntimeError, EOFError, UnpicklingError) as error:
        said = " ".join(str(error).split())[:200]
        raise ConfigError(f"{file}: cannot be read ({said}); copy it anew") from error


def _misfit(model: Any, name: str, shape: tuple[int, ...]) -> str | None:
    """Say what is wrong with one weight of an adapter; None: nothing that is known."""
    from transformers.pytorch_utils import Conv1D

    path, _, part = name.removeprefix("base_model.model.").partition(".lora_")
    if ".base_layer" in path or "_magnitude_vector" in name:
        return None
    try:
        if not part:
            own = tuple(model.get_parameter(path).shape)
            return None if own == shape else f"{path} is {own}, and the adapter's is {shape}"
        layer = model.get_submodule(path)
    except AttributeError:
        # Vectors of other kinds of adapters have no counterpart in the base.
        known = part or path.endswith((".weight", ".bias"))
        return f"it changes {path}, which is not there" if known else None
    if not hasattr(layer, "weight") or len(shape) != 2 or len(layer.weight.shape) != 2:
        return None
    sides = tuple(layer.weight.shape)
    # GPT-2's Conv1D and embeddings keep their weights the other way round than Linear.
    wide, deep = sides if isinstance(layer, Conv1D) or part.startswith("embedding") else sides[::-1]
    is_a = part.split("_")[-1].startswith("A")
    made_for, there = (shape[1], wide) if is_a else (shape[0], deep)
    if made_for == there:
        return None
    side = "takes" if is_a else "gives"
    return f"{path} {side} {there} values, and the adapter is made for {made_for}"
