"""4-bit weights that stay as they were quantised, whatever is computed with them."""

from __future__ import annotations

from typing import Any

from ifllm_hf.errors import ConfigError

_REPACKS = "support_avx512bf16_for_cpu"


def keep_unpacked(model: Any) -> None:
    """Keep the 4-bit layers of a model from being repacked for inference; others are left alone.

    On a CPU with AVX512-BF16, bitsandbytes (0.50) lays the weights of a layer out anew at its first
    forward in evaluation mode. The kernel for that layout has no backward, so every gradient
    after it is wrong; it rounds the scales and the input to bfloat16; and merging and dequantising
    read the new layout as if it were the old one.

    Args:
        model: Any module; changed in place.

    Raises:
        ConfigError: A layer was repacked before, which cannot be undone without loss.
    """
    for name, layer in model.named_modules():
        if not hasattr(layer, _REPACKS):
            continue
        setattr(layer, _REPACKS, False)
        state = getattr(layer.weight, "quant_state", None)
        if getattr(state, "packing_format_for_cpu", False):
            raise ConfigError(
                f"the 4-bit weights of {name} were repacked for inference by a forward in "
                "evaluation mode, which rounds them and leaves them without gradient; load the "
                "model again, and pass it on before it is used"
            )
