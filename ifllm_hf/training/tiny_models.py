"""Tiny random models and made-up pairs, so that every recipe can be dry-run without network or GPU.

`tiny-random/<architecture>` as a model name means one of these; its weights are random, so nothing
that it scores or writes means anything.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
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
    import transformers

    ids = {"vocab_size": vocab_size, "eos_token_id": eos, "bos_token_id": eos, "pad_token_id": pad}
    llama_like = {
        **ids,
        "hidden_size": _HIDDEN,
        "intermediate_size": 2 * _HIDDEN,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS // 2,
        "max_position_embeddings": 2048,
    }
    # Tied or untied output embeddings as in the real model of each recipe.
    makers: dict[str, Callable[[], Any]] = {
        "llama": lambda: transformers.LlamaConfig(**llama_like, tie_word_embeddings=True),
        "olmo2": lambda: transformers.Olmo2Config(**llama_like, tie_word_embeddings=False),
        "qwen2": lambda: transformers.Qwen2Config(**llama_like, tie_word_embeddings=True),
        "qwen3": lambda: transformers.Qwen3Config(
            **llama_like, head_dim=_HIDDEN // _HEADS, tie_word_embeddings=True
        ),
        "gpt2": lambda: transformers.GPT2Config(
            **ids, n_embd=_HIDDEN, n_layer=_LAYERS, n_head=_HEADS, n_positions=1024
        ),
        "gpt_neox": lambda: transformers.GPTNeoXConfig(
            **ids,
            hidden_size=_HIDDEN,
            intermediate_size=2 * _HIDDEN,
            num_hidden_layers=_LAYERS,
            num_attention_heads=_HEADS,
            max_position_embeddings=2048,
        ),
    }
    if architecture not in makers:
        raise ConfigError(
            f"{TINY_PREFIX}{architecture}: no such tiny model; expected one of "
            f"{', '.join(TINY_PREFIX + name for name in makers)}"
        )
    return makers[architecture]()


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
