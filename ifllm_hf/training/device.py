"""What this machine trains on, and the settings that it cannot keep."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from ifllm_hf.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """What a run could use.

    Attributes:
        name: As the maker calls it.
        cuda: Whether it is a GPU that torch sees.
        bf16: Whether it computes in bfloat16.
        free_gb: Memory that nobody uses, in gigabytes (1e9 bytes).
    """

    name: str = "CPU"
    cuda: bool = False
    bf16: bool = False
    free_gb: float = 0.0


def this_device() -> Device:
    """Look at the GPU; of several the one with the least memory, as each holds the whole model.

    Of several processes each must come to the same answer, and what is free changes as they start:
    they go by all memory instead.
    """
    import torch
    from transformers.utils import is_torch_bf16_gpu_available

    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    if on_cpu or not torch.cuda.is_available():
        return Device()
    devices = range(torch.cuda.device_count())
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        room = min(torch.cuda.get_device_properties(i).total_memory for i in devices)
    else:
        room = torch.cuda.mem_get_info(0)[0]
    return Device(torch.cuda.get_device_name(0), True, is_torch_bf16_gpu_available(), room / 1e9)


def check_bf16(training: Any, smoke: str) -> None:
    """Refuse bfloat16 where no GPU computes in it, before torch does in its own words.

    Args:
        training: transformers' `TrainingArguments`.
        smoke: The recipe that runs anywhere.

    Raises:
        ConfigError: bf16 is on, and there is no such GPU.
    """
    from transformers.utils import is_torch_bf16_gpu_available

    wanted = training.bf16 or (training.bf16 is None and not training.fp16)  # as TRL reads None
    if wanted and not training.use_cpu and not is_torch_bf16_gpu_available():
        raise ConfigError(
            "bf16 is on and no GPU that supports it was found; run on such a GPU, or add "
            f"'--bf16 false --use_cpu true --dtype float32' (a tiny model: --config {smoke})"
        )
