"""A tiny reward model with its behaviour paths open, and its processor, for tests that score."""

from __future__ import annotations

import runpy
from pathlib import Path
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
    import torch
    from transformers import BertConfig

    from ifllm_hf.reward.configuration_ifllm import IFLLMConfig
    from ifllm_hf.reward.feature_extraction_ifllm import IFLLMFeatureExtractor
    from ifllm_hf.reward.modeling_ifllm import IFLLMForRewardModeling
    from ifllm_hf.reward.processing_ifllm import IFLLMProcessor

    tokenizers = runpy.run_path(str(Path(__file__).with_name("tiny_tokenizers.py")))
    tokenizer = tokenizers["make_tokenizer"](kind, [QUESTION, *ANSWERS])
    text = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = IFLLMConfig(
        text_config=text,
        trajectory_hidden_size=16,
        trajectory_layers=1,
        trajectory_heads=2,
        **settings,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = IFLLMForRewardModeling(config).eval()
        for name, parameter in model.named_parameters():
            if "gate" in name:
                torch.nn.init.constant_(parameter, 0.7)
        torch.nn.init.normal_(model.score.weight)
    extractor = IFLLMFeatureExtractor(config.token_channels, config.channels)
    return model, IFLLMProcessor(tokenizer, extractor)
