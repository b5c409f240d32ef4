"""Trains the small language model that comes with the package: `make known-truth`.

It reads answers of writers good and bad to the training questions of the world; in the first cycle
beside descriptions of the towns, by which it learns the facts in half the time. The same seed gives
the same weights on the same kind of machine, whatever the number of threads; those that are
shipped are its. The card lies in the folder and is not written here.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.data.known_truth import (
    Statement,
    World,
    known_world,
    render_answer,
    some_writer,
)
from ifllm_hf.data.known_truth.towns import ATTRIBUTES, TOWNS
from ifllm_hf.files import write_whole
from ifllm_hf.progress import progress_bar
from ifllm_hf.reward.pretrained.shipped import KNOWN_TRUTH, pretrained

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

_END, _PAD = "<|endoftext|>", "<|pad|>"
_VOCABULARY = 800
"""At most; every word of the world is one token well before that."""
_TOKENIZER_TEXTS = 16_000
_POSITIONS = 512
_KEPT = ("config.json", "tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class BaseTraining:
    """How the base model is trained: in cycles, each with a fresh optimiser.

    Attributes:
        cycles: Steps of each. Facts are learned in the first, which of them to say in the second.
        described: Share of a batch that describes towns, in the first 70 % of each cycle.
        batch_size: Texts a step.
        learning_rate: At its highest; it rises for `warmup` steps, then falls as a cosine.
        warmup: See there.
        seed: Of weights and texts.
    """

    cycles: tuple[int, ...] = (2400, 900)
    described: tuple[float, ...] = (0.5, 0.0)
    batch_size: int = 16
    learning_rate: float = 3e-3
    warmup: int = 50
    seed: int = 0

    def rate(self, step: int, steps: int) -> float:
        """Return the share of the learning rate at a step of a cycle."""
        fallen = 0.5 * (1 + cos(pi * step / steps))
        return min(1.0, (step + 1) / self.warmup) * (0.05 + 0.95 * fallen)

    def towns_in_batch(self, step: int, cycle: int) -> int:
        """Return how many texts of a step describe a town."""
        early = step < 0.7 * self.cycles[cycle]
        return round(self.described[cycle] * self.batch_size) if early else 0


def written_answers(world: World, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield prompts as recipes write them, and answers of writers drawn at random, for ever."""
    style, questions = PromptFormat(), world.questions("train")
    while True:
        question = questions[int(rng.integers(len(questions)))]
        said = render_answer(some_writer(rng).write(rng, question, world))
        prompt = style.prompt_template.replace("{prompt}", question.text)
        yield prompt, style.response_prefix + said


def described_towns(world: World, rng: np.random.Generator) -> Iterator[tuple[str, str]]:
    """Yield towns and all that is true of them, in any order, for ever."""
    while True:
        town = TOWNS[int(rng.integers(len(TOWNS)))]
        order = [str(a) for a in rng.permutation(ATTRIBUTES)]
        said = render_answer([Statement(a, world.facts[town][a]) for a in order])
        yield f"Town: {town}\n\nAbout:", " " + said


def train_base_tokenizer(world: World, seed: int = 0) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on answers of the world; each of its words is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    texts = written_answers(world, np.random.default_rng([seed, 1]))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=[_END, _PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(("".join(next(texts)) for _ in range(_TOKENIZER_TEXTS)), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_END,
        pad_token=_PAD,
        model_max_length=_POSITIONS,
    )


def train_base_model(
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    training: BaseTraining,
    *,
    progress: bool = True,
) -> Any:
    """Train a Llama of 0.96 M parameters from scratch, on the CPU, in float32.

    Wide and shallow: it has facts to remember and hardly anything to work out. For the first
    thousand steps it seems to learn none of them; then, within a few hundred, most.

    Args:
        world: Whose facts it learns.
        tokenizer: Of `train_base_tokenizer`.
        training: How.
        progress: Whether to draw a progress bar on stderr.

    Returns:
        A `LlamaForCausalLM`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=448,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        model = LlamaForCausalLM(config)
    with progress_bar(sum(training.cycles), "Training", progress, unit="step") as bar:
        for cycle in range(len(training.cycles)):
            _train_cycle(model, world, tokenizer, training, cycle, bar.update)
            model.half().float()  # as it is stored
    return model.eval()


def _train_cycle(
    model: Any,
    world: World,
    tokenizer: PreTrainedTokenizerFast,
    training: BaseTraining,
    cycle: int,
    done: Callable[[], Any],
) -> None:
    """Train for the steps of a cycle, in place; `done` is called after each."""
    import torch

    steps = training.cycles[cycle]
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, betas=(0.9, 0.95), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: training.rate(step, steps))
    rng = np.random.default_rng([training.seed, 0, cycle])
    answers, towns = written_answers(world, rng), described_towns(world, rng)
    for step in range(steps):
        n_towns = training.towns_in_batch(step, cycle)
        texts = [next(towns) for _ in range(n_towns)]
        texts += [next(answers) for _ in range(training.batch_size - n_towns)]
        ids, labels = _tensors(tokenizer, texts)
        loss = model(input_ids=ids, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        done()


def _tensors(
    tokenizer: PreTrainedTokenizerFast, texts: Sequence[tuple[str, str]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens padded on the right, and the labels: the answers and their ends alone."""
    import torch

    rows = [
        (tokenizer(prompt)["input_ids"], [*tokenizer(said)["input_ids"], tokenizer.eos_token_id])
        for prompt, said in texts
    ]
    shape = len(rows), max(len(prompt) + len(said) for prompt, said in rows)
    ids = torch.full(shape, int(tokenizer.pad_token_id))
    labels = torch.full(shape, -100)
    for row, (prompt, said) in enumerate(rows):
        end = len(prompt) + len(said)
        ids[row, :end] = torch.tensor(prompt + said)
        labels[row, len(prompt) : end] = torch.tensor(said)
    return ids, labels


def build_base_model(
    out: str | os.PathLike[str],
    training: BaseTraining | None = None,
    *,
    world: World | None = None,
    progress: bool = True,
) -> None:
    """Train the model and write it in half precision into `out`; what else lies there stays.

    Args:
        out: The model's folder.
        training: Default: `BaseTraining()`, which made the one that is shipped.
        world: Default: `known_world()`.
        progress: Whether to draw a progress bar on stderr.

    Raises:
        OutputError: A file cannot be written.
    """
    training, world = training or BaseTraining(), world or known_world()
    tokenizer = train_base_tokenizer(world, training.seed)
    model = train_base_model(world, tokenizer, training, progress=progress).half()
    with tempfile.TemporaryDirectory() as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        for name in _KEPT:
            said = json.loads((Path(aside) / name).read_text(encoding="utf-8"))
            said.pop("transformers_version", None)
            # The vocabulary on one line, as it is not read by people.
            lines = {"separators": (",", ":")} if name == "tokenizer.json" else {"indent": 2}
            write_whole(Path(out) / name, json.dumps(said, ensure_ascii=False, **lines) + "\n")
        write_whole(
            Path(out) / "model.safetensors", (Path(aside) / "model.safetensors").read_bytes()
        )


def main(arguments: Sequence[str]) -> int:
    """Build the shipped folder, or another one: `python -m ... [FOLDER]`."""
    build_base_model(arguments[0] if arguments else pretrained(KNOWN_TRUTH))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
