"""Tiny random models and made-up pairs, so that every recipe can be dry-run without network or GPU.

`tiny-random/<architecture>` as a model name means one of these; its weights are random, so nothing
that it scores or writes means anything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

TINY_PREFIX = "tiny-random/"
_HIDDEN, _LAYERS, _HEADS, _VOCABULARY = 64, 2, 4, 512
_SPECIAL = ("<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
_CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _config(architecture: str, vocab_size: int, eos: int, pad: int) -> PreTrainedConfig:
    from transformers import AutoConfig

    ids = {"vocab_size": vocab_size, "eos_token_id": eos, "bos_token_id": eos, "pad_token_id": pad}
    size = {
        "hidden_size": _HIDDEN, "num_hidden_layers": _LAYERS, "num_attention_heads": _HEADS,
    }  # fmt: skip
    wide = {"intermediate_size": 2 * _HIDDEN, "max_position_embeddings": 2048}
    llama = {**wide, "num_key_value_heads": _HEADS // 2, "tie_word_embeddings": True}
    # Tied or untied output embeddings as in the real model of each recipe.
    own: dict[str, dict[str, int]] = {
        "llama": llama,
        "olmo2": {**llama, "tie_word_embeddings": False},
        "qwen2": llama,
        "qwen3": {**llama, "head_dim": _HIDDEN // _HEADS},
        "gpt2": {"max_position_embeddings": 1024},
        "gpt_neox": wide,
    }
    if architecture not in own:
        raise ConfigError(
            f"{TINY_PREFIX}{architecture}: no such tiny model; expected one of "
            f"{', '.join(TINY_PREFIX + name for name in own)}"
        )
    return AutoConfig.for_model(architecture, **ids, **size, **own[architecture])


def train_tiny_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer (at most 512 tokens) on the given texts."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=_SPECIAL[0], pad_token=_SPECIAL[1]
    )
    wrapped.chat_template = _CHATML
    return wrapped


def build_tiny_model(architecture: str, folder: Path, texts: Sequence[str], seed: int = 0) -> Path:
    """Write a tiny random causal language model and its tokenizer into a folder.

    Args:
        architecture: `llama`, `olmo2`, `qwen2`, `qwen3`, `gpt2` or `gpt_neox`.
        folder: Where to write; a finished model that is already there is kept.
        texts: What to train the tokenizer on.
        seed: Seed of the weights.

    Returns:
        The folder, loadable by `from_pretrained`.

    Raises:
        ConfigError: An architecture that is not on the list.
    """
    import torch
    from transformers import AutoModelForCausalLM

    finished = folder / "finished"
    if finished.exists():
        return folder
    tokenizer = train_tiny_tokenizer(texts)
    config = _config(
        architecture, len(tokenizer), int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    finished.touch()
    return folder


_TOPICS = ("tides", "bread", "rust", "glaciers", "violins", "bees", "magnets", "tea")
_ASKS = ("How do {} work?", "What should I know about {}?", "Why do people study {}?")
_GOOD = (
    "First, {0} follow a few plain rules.",
    "An example makes {0} clear.",
    "In short, start small.",
)
_BAD = (
    "It depends.",
    "There is much to say about {0} and about other things.",
    "See a book on {0}.",
)


def made_up_pairs(n: int = 64, seed: int = 0) -> Dataset:
    """Return `n` made-up preference pairs in the columns of the IFLLM `preferences` config.

    They exercise the code and mean nothing: the longer, more structured answer is chosen.

    Args:
        n: Number of pairs.
        seed: Seed of the choices.

    Returns:
        A dataset with `prompt`, `chosen`, `rejected`, `confidence` and the columns that `history`,
        `suffix` and `eval_fold` use.
    """
    from datasets import Dataset

    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for i in range(n):
        topic = rng.choice(_TOPICS)
        good = " ".join(rng.sample(_GOOD, k=2)).format(topic)
        bad = rng.choice(_BAD).format(topic)
        past = [
            {"role": "user", "content": f"Tell me about {topic}."},
            {"role": "assistant", "content": rng.choice(_GOOD).format(topic)},
        ]
        rows.append(
            {
                "prompt": f"{rng.choice(_ASKS).format(topic)} (case {i})",
                "chosen": good,
                "rejected": bad,
                "confidence": round(rng.uniform(0.5, 1.0), 3),
                "source": "made-up",
                "user_id": f"worker_{i % 10}",
                "fold": i % 5,
                "bullet_suffix": rng.random() < 0.5,
                "history_chosen": past if i % 2 else [],
                "history_rejected": past if i % 2 else [],
            }
        )
    return Dataset.from_list(rows)
