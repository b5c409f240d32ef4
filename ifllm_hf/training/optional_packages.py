"""Packages that settings of a training run ask for: looked for before any work, not after it."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from typing import Any

from ifllm_hf.errors import ConfigError

_OPTIMIZERS = (
    ("galore", "galore_torch", "galore-torch"),
    ("apollo", "apollo_torch", "apollo-torch"),
    ("lomo|adalomo", "lomo_optim", "lomo-optim"),
    ("grokadamw", "grokadamw", "grokadamw"),
    ("schedule_free", "schedulefree", "schedulefree"),
    ("stable_adamw", "optimi", "torch-optimi"),
    ("adamw_torch_[48]bit", "torchao", "torchao"),
    ("adamw_anyprecision", "torchdistx", "torchdistx"),
    ("paged_|ademamix|lion|rmsprop_bnb|adamw_(bnb_)?8bit", "bitsandbytes", "bitsandbytes"),
)
"""How names of transformers' optimisers begin, the module each needs, and what brings it."""
_TRACKERS = {"azure_ml": "azureml", "comet_ml": "comet", "flyte": "flytekit"}
"""Trackers that transformers looks for under another name: `is_NAME_available`."""
_BRINGS = {"azure_ml": "azureml-sdk", "comet_ml": "comet-ml", "flyte": "flytekit"}


def check_packages(settings: Mapping[str, Any]) -> None:
    """Refuse settings whose packages are not installed; transformers says so after the data.

    Args:
        settings: Of transformers' `TrainingArguments` (`vars` of them), before or after its checks.

    Raises:
        ConfigError: A tracker (`report_to`), DeepSpeed, Liger kernels or an optimiser is missing.
    """
    reports = settings.get("report_to") or []
    for tracker in [reports] if isinstance(reports, str) else reports:
        _check_tracker(tracker)
    if (
        settings.get("deepspeed")
        or os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true"
    ):
        _need("deepspeed", "deepspeed", "DeepSpeed", "shard with recipes/accelerate/fsdp2.yaml")
    if settings.get("use_liger_kernel"):
        _need("liger_kernel", "liger-kernel", "use_liger_kernel", "remove it")
    optimizer = settings.get("optim", "")
    optimizer = str(getattr(optimizer, "value", optimizer))
    for names, module, package in _OPTIMIZERS:
        if re.match(names, optimizer):
            _need(module, package, f"optim {optimizer}", "set optim: adamw_torch")


def _check_tracker(tracker: str) -> None:
    from transformers.integrations import integration_utils as known

    if tracker in ("none", "all"):
        return
    if tracker not in known.INTEGRATION_TO_CALLBACK:
        names = ", ".join(sorted(known.INTEGRATION_TO_CALLBACK))
        raise ConfigError(f"report_to is {tracker!r}; expected none, all, or one of {names}")
    is_available = getattr(known, f"is_{_TRACKERS.get(tracker, tracker)}_available")
    if not is_available():
        package = _BRINGS.get(tracker, tracker)
        raise ConfigError(
            f"report_to is {tracker}, which is not installed (or switched off by an environment "
            f"variable); run: pip install {package}, or set report_to: none"
        )


def _need(module: str, package: str, setting: str, instead: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"{setting} needs {package}, which is not installed; run: pip install {package}, or "
            f"{instead}"
        )
