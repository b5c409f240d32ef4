"""What our trainers put around TRL's, so that an adapter learns from the gradient it should."""

from __future__ import annotations

from typing import Any

import torch
from accelerate.utils import is_peft_model

from ifllm_hf.training.four_bit import keep_unpacked


class AdapterPrecision:
    """4-bit weights keep their gradient, and adapters are float32 from the first step to the last.

    TRL rounds the adapter of a quantised model to bfloat16. At a learning rate of 2e-5 nine
    entries of ten then never move, as a step is smaller than half the distance to the next number;
    and a resumed run, where PEFT loads the adapter in float32, goes on as another one.

    Args:
        model: The policy, or what TRL takes for one.
        *args: Passed to TRL.
        **kwargs: Passed to TRL; `ref_model` may hold 4-bit weights too.

    Raises:
        ConfigError: The 4-bit weights were repacked for inference before.
    """

    model: Any
    args: Any
    accelerator: Any

    def __init__(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """Set the trainer up."""
        for given in (model, kwargs.get("ref_model")):
            if isinstance(given, torch.nn.Module):
                keep_unpacked(given)
        # An adapter of an earlier stage as it is before TRL rounds it; a fresh one is random.
        earlier = (
            {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
            if is_peft_model(model)
            else {}
        )
        super().__init__(model, *args, **kwargs)  # type: ignore[call-arg]
        keep_unpacked(self.model)  # TRL may have loaded it
        if is_peft_model(self.model):
            self._train_in_float32(earlier)

    def _train_in_float32(self, earlier: dict[str, torch.Tensor]) -> None:
        plugin = self.args.deepspeed_plugin
        if plugin is not None and plugin.zero_stage == 3:
            return  # it takes one dtype for all weights (deepspeed#8072), and trains a float32 copy
        # A whole layer that is trained (`lora_modules_to_save`) meets layers that are not, and
        # PEFT converts between dtypes around an adapter alone.
        mixed = self.accelerator.mixed_precision != "no"
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and (mixed or "modules_to_save" not in name):
                # Setting a trainer up may have moved the model to the GPU.
                weight.data = earlier.get(name, weight.data).to(weight.device, torch.float32)
