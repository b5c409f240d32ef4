"""A tiny reward model with its behaviour paths open, and its processor, for tests that score."""

from __future__ import annotations

from typing import Any

QUESTION = "why is the sky blue"
ANSWERS = ["first of all light is scattered", "the sea rises again as rain 🌊 so it goes"]
TICKS: dict[str, list[Any]] = {
    "t_ms": [100.0 * i for i in range(40)],
    "page_load": [0] * 40,
    "phase": ["reading"] * 36 + ["rating"] * 4,
    "mouse_on": (["a"] * 9 + ["none"] * 3 + ["b"] * 8) * 2,
    "mouse_char": ([*range(9)] + [None] * 3 + [*range(30, 38)]) * 2,
    "gaze_on": ["b"] * 20 + ["a"] * 20,
    "gaze_char": [i % 30 for i in range(40)],
}


def make(seed: int = 0, kind: str = "wordpiece", **settings: Any) -> tuple[Any, Any]:
    """Return model and processor; random weights, gates open."""
    from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
    from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
    from tests.helpers.reward.models import reward_model
    from tests.helpers.reward.tokenizers import make_tokenizer

    tokenizer = make_tokenizer(kind, [QUESTION, *ANSWERS])
    model = reward_model(
        "bert",
        seed=seed,
        backbone_settings={"vocab_size": len(tokenizer), "max_position_embeddings": 512},
        **settings,
    )
    extractor = IFLLMFeatureExtractor(model.config.token_channels, model.config.channels)
    return model, IFLLMProcessor(tokenizer, extractor)
