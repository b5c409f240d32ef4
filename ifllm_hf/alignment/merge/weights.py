"""The base as an adapter was trained on it, and what both make together in 16 bit.

4-bit weights are read before anything is computed with them: on CPUs with AVX512-BF16 bitsandbytes
repacks them at the first forward in eval mode, and what is dequantised after that is noise.
"""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.merge.adapter import TRUST, Adapter
from ifllm_hf.alignment.policy.adapter_base import ADAPTER_CONFIG
from ifllm_hf.alignment.policy.load import load_in_precision, put_adapter
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_json_object
from ifllm_hf.progress import progress_bar

if TYPE_CHECKING:
    import torch

    from ifllm_hf.alignment.policy.precision import Precision

logger = logging.getLogger(__name__)


def load_base(
    adapter: Adapter,
    device: torch.device,
    *,
    precision: Precision | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """Load the base of an adapter as it was trained on it.

    Args:
        adapter: The adapter.
        device: Where the weights go.
        precision: Another precision than that.
        trust_remote_code: Whether code that lies beside them may run.

    Raises:
        ConfigError: They cannot be loaded.
    """
    return load_in_precision(
        adapter.base,
        precision or adapter.precision,
        device,
        revision=adapter.revision,
        trust_remote_code=trust_remote_code,
        trusted_by=TRUST,
    )


def put_on(model: Any, adapter: Adapter) -> Any:
    """Return a model with the adapter on it; see `put_adapter`."""
    return put_adapter(model, str(adapter.folder), name=adapter.name, base=adapter.base)


def take_4bit_weights(plain: Any, quantised: Any) -> int:
    """Put the values of 4-bit weights into a model that is not quantised, layer by layer.

    Args:
        plain: The same model in 16 bit. GPT-2 keeps its layers as `Conv1D`, whose weights lie the
            other way round than those of the 4-bit layers that stand for them.
        quantised: Freshly loaded: nothing has been computed with it.

    Returns:
        How many layers were 4-bit.

    Raises:
        RuntimeError: Its weights are repacked (a defect of the caller).
    """
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit
    from transformers.pytorch_utils import Conv1D

    layers: list[tuple[str, Any]]
    layers = [(n, part) for n, part in quantised.named_modules() if isinstance(part, Linear4bit)]
    with torch.no_grad():
        for name, layer in layers:
            state = layer.weight.quant_state
            if getattr(state, "packing_format_for_cpu", False):
                raise RuntimeError(f"{name}: repacked for a CPU; dequantise before any forward")
            values = dequantize_4bit(layer.weight.data, state)
            target = plain.get_submodule(name)
            if isinstance(target, Conv1D):
                values = values.T
            target.weight.copy_(values)
    return len(layers)


def merge(model: Any, adapter: Adapter, *, dtype: str, show: bool = True) -> Any:
    """Return the model with the adapter merged into its weights.

    Each sum is made in float32 and rounded once, to what is saved; elsewhere weights keep their
    dtype.

    Args:
        model: The base, not quantised.
        adapter: What is merged into it.
        dtype: Of what is saved.
        show: Whether to draw a progress bar on stderr.

    Raises:
        ConfigError: The adapter does not fit, cannot be merged, or makes a weight infinite.
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    merged = put_on(model, adapter)
    _untie(model, adapter)
    layers = [part for part in merged.modules() if isinstance(part, BaseTunerLayer)]
    try:
        merged.base_model._check_merge_allowed()
        with progress_bar(len(layers), "merging", show, delay=2) as bar:
            for layer in layers:
                _merge_layer(layer, getattr(torch, dtype))
                bar.update(1)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All adapters are already merged")
            warnings.filterwarnings("ignore", "Input and output embeddings are no longer tied")
            return merged.merge_and_unload()
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise ConfigError(
            f"{adapter.name}: cannot be merged ({' '.join(str(error).split())}); serve the adapter "
            "on its base"
        ) from error


def _merge_layer(layer: Any, dtype: torch.dtype) -> None:
    weights = [p for p in layer.get_base_layer().parameters(recurse=False) if p.is_floating_point()]
    for weight in weights:
        weight.data = weight.data.float()
    layer.merge(safe_merge=True)
    for weight in weights:
        weight.data = weight.data.to(dtype)


def _untie(model: Any, adapter: Adapter) -> None:
    """Give the output embedding weights of its own where the adapter changes one of both alone.

    In training the two share the weights of the base, and what the adapter adds to one of them
    never reached the other; merged in place it would.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    ends = [model.get_input_embeddings(), model.get_output_embeddings()]
    if not any(isinstance(part, BaseTunerLayer) for part in ends):
        return  # nothing is added in place
    into, out = (p.get_base_layer() if isinstance(p, BaseTunerLayer) else p for p in ends)
    config = read_json_object(adapter.folder / ADAPTER_CONFIG)
    if out is None or out.weight is not into.weight or config.get("ensure_weight_tying"):
        return
    out.weight = nn.Parameter(out.weight.detach().clone(), requires_grad=False)
    for part in (model.config, model.config.get_text_config()):
        part.tie_word_embeddings = False
    logger.warning("input and output embeddings are no longer the same, as the adapter left them")


def save_model(model: Any, folder: Path, *, dtype: str, shard_size: str) -> None:
    """Write weights in shards, with config and generation config.

    Args:
        model: The merged model; its weights are rounded to `dtype`.
        folder: Where to.
        dtype: `bfloat16`, `float16` or `float32`.
        shard_size: Largest shard, such as `4GB`.

    Raises:
        ConfigError: A weight is too large for the dtype.
    """
    import torch

    model.to(getattr(torch, dtype))
    for name, weight in model.named_parameters():
        if not bool(weight.isfinite().all()):
            raise ConfigError(
                f"{name} has weights that {dtype} does not hold; write bfloat16 (--dtype)"
            )
    model.config.dtype = dtype
    settings = model.generation_config
    if settings is not None:
        try:
            settings.validate(strict=True)
        except ValueError:  # a temperature without sampling, as many bases have; saving refuses it
            settings.do_sample = True
    model.save_pretrained(folder, max_shard_size=shard_size)
