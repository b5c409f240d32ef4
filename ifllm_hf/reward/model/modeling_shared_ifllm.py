"""What the reward model shares with its body: initial weights, and loading that drops none.

Travels with a model: imports its siblings, torch and transformers alone.
"""

from __future__ import annotations

import logging
from typing import Any

from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_ifllm import IFLLMConfig
from .modeling_behavior_ifllm import TokenBehavior, TrajectoryEncoder, TrajectoryJoin
from .modeling_checks_ifllm import refuse_misfit
from .modeling_evidence_ifllm import EvidenceHead
from .modeling_placement_ifllm import NO_TEXT, UNITS, kept_off_the_disk, units_of

logger = logging.getLogger(__name__)
_REPACKS = "support_avx512bf16_for_cpu"


def keep_four_bits_unpacked(model: nn.Module) -> None:
    """Turn off what leaves 4-bit weights without gradient after a forward in evaluation mode.

    bitsandbytes repacks them then on a CPU with AVX512-BF16. (The training of the package says the
    same in `training.four_bit`, which does not travel with a model.)
    """
    for layer in model.modules():
        if hasattr(layer, _REPACKS):
            setattr(layer, _REPACKS, False)


class IFLLMPreTrainedModel(PreTrainedModel):  # type: ignore[misc, unused-ignore]
    """What both models share: initial weights, and loading that never drops one in silence."""

    config: IFLLMConfig
    config_class = IFLLMConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _no_split_modules: Any = UNITS
    # In float32 beside bfloat16 too: a score of five units would be rounded by hundredths.
    _keep_in_fp32_modules_strict = ["evidence"]

    def post_init(self) -> None:
        """Let transformers finish, then say what may not be split."""
        super().post_init()
        on_meta = any(parameter.is_meta for parameter in self.parameters())
        self._no_split_modules = units_of(self, placed=not on_meta)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TokenBehavior | TrajectoryEncoder | TrajectoryJoin):
            for part in module.modules():
                # These are narrow; the usual 0.02 would all but silence them.
                if isinstance(part, nn.Linear):
                    init.xavier_uniform_(part.weight)
            if getattr(module, "gate", None) is not None:
                init.zeros_(module.gate)
            for name in ("start", "query"):
                if getattr(module, name, None) is not None:
                    init.normal_(getattr(module, name), std=0.5)
        if isinstance(module, EvidenceHead):
            for name, parameter in module.named_parameters():
                (init.ones_ if name == "spread" else init.zeros_)(parameter)
        if isinstance(getattr(module, NO_TEXT, None), nn.Parameter):
            init.zeros_(module.no_text)

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:
        """Load weights, all of them: see `PreTrainedModel.from_pretrained`.

        Args:
            args: See there.
            output_loading_info: Return (model, info) instead, where info names the weights that are
                missing or left over; then nothing is refused.
            kwargs: See there; `ignore_mismatched_sizes=True` draws weights of another shape anew.

        Raises:
            DataError: Weights are missing, left over or of another shape. (transformers would
                warn and go on with random ones.)
        """
        if "device_map" in kwargs:
            kwargs["device_map"] = kept_off_the_disk(kwargs["device_map"])
        model, info = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        keep_four_bits_unpacked(model)
        for part in model.modules():
            if isinstance(part, IFLLMPreTrainedModel):
                part._no_split_modules = units_of(part, placed=True)
            if isinstance(part, EvidenceHead):
                part.requires_grad_(False)
        if not model.config.evidence_head:
            logger.warning(
                "%s has no evidence head, and is loaded as it was: it knows neither how long an "
                "answer is nor where the end of reading rested",
                model.config._name_or_path or cls.__name__,
            )
        if output_loading_info:
            return model, info
        asked_for = {"mismatched_keys": ()} if kwargs.get("ignore_mismatched_sizes") else {}
        refuse_misfit(cls.__name__, {**info, **asked_for})
        return model
