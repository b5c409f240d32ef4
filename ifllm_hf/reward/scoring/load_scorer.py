"""The model that scores, by whatever it is called, with its processor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.pretrained.shipped import LATE_READING, PRETRAINED, pretrained


def place_of_scorer(model: str | os.PathLike[str] | None) -> str | Path:
    """Return the folder of a model, or its id on the Hub; by default the one that is shipped."""
    if model is None or str(model) in PRETRAINED and not Path(model).is_dir():
        return pretrained(LATE_READING if model is None else str(model))
    return Path(model) if Path(model).is_dir() else str(model)


def load_scorer(place: str) -> tuple[Any, Any]:
    """Return model and processor, on the CPU.

    Raises:
        ConfigError: There is none, or it is no reward model of this package.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoProcessor

    try:
        config = AutoConfig.from_pretrained(place)
        if config.model_type != "ifllm":
            raise ConfigError(
                f"{place}: is a model of the type {config.model_type!r}; expected 'ifllm', a "
                "reward model of this package, which reads ticks"
            )
        model = AutoModelForSequenceClassification.from_pretrained(place)
        processor = AutoProcessor.from_pretrained(place)
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"model {place}: cannot be loaded ({said}); expected a folder of model and processor, "
            f"ORG/NAME on the Hub, or {', '.join(PRETRAINED)}"
        ) from error
    processor.check_config(model.config)
    return model.eval(), processor
