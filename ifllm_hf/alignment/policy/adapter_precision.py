"""What our trainers put in front of TRL's, so that an adapter gets the gradient it should."""

from __future__ import annotations

from typing import Any

from ifllm_hf.training.four_bit import keep_unpacked


class AdapterPrecision:
    """4-bit weights keep their gradient, also those of a model that was loaded elsewhere.

    Args:
        model: The policy, or what TRL takes for one.
        *args: Passed to TRL.
        **kwargs: Passed to TRL; `ref_model` may hold 4-bit weights too.

    Raises:
        ConfigError: The 4-bit weights were repacked for inference before.
    """

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """Set the trainer up."""
        for given in (model, kwargs.get("ref_model")):
            if hasattr(given, "named_modules"):
                keep_unpacked(given)
        super().__init__(model, *args, **kwargs)  # type: ignore[call-arg]
