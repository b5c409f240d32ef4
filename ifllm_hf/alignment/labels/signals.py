"""What a labelling model may look at: text, gaze, mouse, or several of them."""

from __future__ import annotations

from collections.abc import Callable

from ifllm_hf.errors import require_one_of
from ifllm_hf.reward.baselines.choice import GAZE, MOUSE, default_model
from ifllm_hf.reward.baselines.linear import AntisymmetricLR
from ifllm_hf.reward.baselines.protocol import Model
from ifllm_hf.reward.baselines.text_models import TfidfLR

_MODELS: dict[str, Callable[[], Model]] = {
    "best": default_model,
    "text": TfidfLR,
    "gaze": lambda: AntisymmetricLR("gaze alone", GAZE, length=False),
    "mouse": lambda: AntisymmetricLR("mouse alone", MOUSE, length=False),
    "gaze+mouse": lambda: AntisymmetricLR("gaze and mouse", (*GAZE, *MOUSE), length=False),
    "text+gaze+mouse": lambda: TfidfLR("text + gaze and mouse", (*GAZE, *MOUSE)),
}
INPUTS = tuple(_MODELS)
"""`best` is the model that predicts clicks best: lengths and the end of reading. The others see
what they are named after and nothing else, not even the lengths of the answers."""


def label_model(inputs: str) -> Callable[[], Model]:
    """Return what makes the model that sees these inputs.

    Raises:
        ConfigError: There is no such combination.
    """
    require_one_of("inputs", inputs, INPUTS)
    return _MODELS[inputs]
