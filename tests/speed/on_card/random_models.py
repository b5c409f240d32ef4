"""The eight shapes with random weights, made where they are used: no checkpoint, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_memory import SHAPES, config_of

_SHRUNK = ("vocab_size", "hidden_size", "n_embd", "intermediate_size", "num_hidden_layers",
           "n_layer")  # fmt: skip


def shape_of(name: str, shrink: int = 1, vocabulary: int | None = None) -> dict[str, Any]:
    """Return what decides the shape of a model.

    Args:
        name: Recipe.
        shrink: Every dimension is divided by this; heads keep their ratio.
        vocabulary: Words, if not as many as the shape has.
    """
    shape = dict(SHAPES[name][1])
    if shrink > 1:
        shape |= {key: max(1, shape[key] // shrink) for key in _SHRUNK if key in shape}
        fewer = min(shrink, shape.get("num_key_value_heads", shrink))
        for key in ("num_attention_heads", "num_key_value_heads"):
            if key in shape:
                shape[key] //= fewer
        if "n_head" in shape:
            shape["n_head"] = 5  # 25 heads have one divisor
    return shape | ({"vocab_size": vocabulary} if vocabulary else {})


def write_folder(name: str, shape: dict[str, Any], folder: Path) -> Any:
    """Write what a run reads before it loads weights, a config and a tokenizer of single letters.

    Returns:
        The config.
    """
    from ifllm_hf.training.tiny_models import train_tiny_tokenizer

    tokenizer = train_tiny_tokenizer(["a"])
    config = config_of(name, shape)
    config.eos_token_id = config.bos_token_id = tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return config


def build(config: Any, device: str, quantization: Any = None, seed: int = 0) -> Any:
    """Make a model of random bf16 weights on the device, where billions of them take seconds.

    Args:
        config: The shape.
        device: `cuda` or `cpu`.
        quantization: What TRL's `get_quantization_config` gives. The weights then go through the
            loading of transformers, as those of a checkpoint do, and are packed on the device.
        seed: Of the weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if quantization is None:
        return model
    weights, kind = model.state_dict(), type(model)
    del model
    return kind.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        dtype=torch.bfloat16,
        quantization_config=quantization,
        device_map={"": 0 if device == "cuda" else device},
    )
