"""Tiny reward models around seven backbones, and batches for them."""

from __future__ import annotations

from typing import Any

import torch
import transformers

from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS, IFLLMConfig
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling

VOCABULARY = 60
_IDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_LIKE_LLAMA = {
    **_IDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_LIKE_BERT = {k: v for k, v in _LIKE_LLAMA.items() if k != "num_key_value_heads"}
BACKBONES: dict[str, Any] = {
    "bert": lambda: transformers.BertConfig(**_LIKE_BERT),
    "modernbert": lambda: transformers.ModernBertConfig(
        **_LIKE_BERT, cls_token_id=1, sep_token_id=2, global_attn_every_n_layers=2
    ),
    "llama": lambda: transformers.LlamaConfig(**_LIKE_LLAMA),
    "qwen3": lambda: transformers.Qwen3Config(**_LIKE_LLAMA, head_dim=8),
    "gpt2": lambda: transformers.GPT2Config(
        **_IDS, n_embd=32, n_layer=2, n_head=4, n_positions=128
    ),
    "gpt_neox": lambda: transformers.GPTNeoXConfig(**_LIKE_BERT),
    "olmo2": lambda: transformers.Olmo2Config(**_LIKE_LLAMA),
}


def reward_model(
    backbone: str | None = "llama",
    *,
    opened: bool = True,
    seed: int = 0,
    backbone_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> IFLLMForRewardModeling:
    """A tiny model in evaluation mode; its gates opened, unless it is to be fresh."""
    settings = {"trajectory_hidden_size": 16, "trajectory_heads": 2, **settings}
    if backbone is None:
        settings |= {"use_text": False, "use_token_behavior": False}
    else:
        config = BACKBONES[backbone]()
        config.update(backbone_settings or {})
        settings["text_config"] = config
    torch.manual_seed(seed)
    model = IFLLMForRewardModeling(IFLLMConfig(**settings)).eval()
    if opened:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith("gate"):
                    parameter.normal_(std=0.5)
            model.score.weight.normal_(std=0.5)
    return model


def make_batch(
    rows: int = 4, tokens: int = 12, ticks: int = 37, seed: int = 0, channels: int = len(CHANNELS)
) -> dict[str, torch.Tensor]:
    """Random answers with behaviour, no padding."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    tokens_shape = (rows, tokens, len(TOKEN_CHANNELS))
    return {
        "input_ids": torch.randint(3, VOCABULARY, (rows, tokens), generator=generator),
        "attention_mask": torch.ones(rows, tokens, dtype=torch.long),
        "token_behavior": rand(*tokens_shape),
        "token_behavior_mask": rand(*tokens_shape) > 0.4,
        "trajectory": rand(rows, ticks, channels),
        "trajectory_observed": rand(rows, ticks, channels) > 0.3,
        "trajectory_time_ms": (rand(rows, ticks) * 200).cumsum(1),
        "trajectory_mask": torch.ones(rows, ticks, dtype=torch.bool),
    }


def text_of(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch without behaviour."""
    return {name: batch[name] for name in ("input_ids", "attention_mask")}


def trajectory_of(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch without text."""
    return {name: value for name, value in batch.items() if name.startswith("trajectory")}


def scores(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Scores, `[rows]`, without gradient."""
    with torch.no_grad():
        return model(**batch).logits[:, 0]


def assert_near(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-5) -> None:
    """Compare by absolute difference alone."""
    torch.testing.assert_close(a, b, atol=atol, rtol=0)
