"""One question, two answers, seven ticks, and how to look at what the processor makes of them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from tests.helpers.reward.tokenizers import make_tokenizer

ANSWERS = ["one two three", "four five"]
WORDS = ["one", "two", "three", "four", "five", "why", "long"]
TICKS: dict[str, list[Any]] = {
    "t_ms": [1000.0, 1100.0, 1200.0, 1300.0, 4000.0, 4100.0, 4200.0],
    "page_load": [0] * 7,
    "phase": ["reading"] * 6 + ["rating"],
    "mouse_on": ["a", "a", "b", "none", "a", "a", "b"],
    "mouse_char": [0, 4, 5, None, 12, 1, 0],
    "gaze_on": [None, "b", None, None, None, None, "b"],
    "gaze_char": [None, 0, None, None, None, None, 1],
}


def word_processor() -> IFLLMProcessor:
    """Words are tokens: `one two three` is preceded by `why` and the break."""
    return IFLLMProcessor(make_tokenizer("wordpiece", [" ".join(WORDS)] * 50))


def encode(processor: IFLLMProcessor, ticks: Any = TICKS, **kwargs: Any) -> Any:
    return processor("why", ANSWERS, ticks, return_tensors="pt", **kwargs)


def changed(**columns: Any) -> dict[str, Any]:
    return {**copy.deepcopy(TICKS), **columns}


def without(*names: str) -> dict[str, Any]:
    return {name: values for name, values in TICKS.items() if name not in names}


def column(batch: Any, row: int, name: str, values: str = "trajectory") -> list[float | None]:
    """Return one channel of a row, None where it was not observed."""
    names, mask = (
        (CHANNELS, "trajectory_observed")
        if values == "trajectory"
        else (TOKEN_CHANNELS, "token_behavior_mask")
    )
    at = names.index(name)
    seen = batch[mask][row, :, at].tolist()
    return [
        round(v, 6) if s else None
        for v, s in zip(batch[values][row, :, at].tolist(), seen, strict=True)
    ]


def log(value: float) -> float:
    return round(float(np.log1p(value)), 6)
