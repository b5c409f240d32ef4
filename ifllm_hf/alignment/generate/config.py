"""What generation is told: which model, and how to sample.

The texts under `Attributes:` are what `recipes/judge.py --help` says.
"""

from __future__ import annotations

from dataclasses import dataclass

from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.reward.pretrained.shipped import place_of_language_model

BACKENDS = ("auto", "transformers", "vllm")


@dataclass(frozen=True)
class ModelSpec:
    """A model that answers, or answers that are there already.

    Attributes:
        name: Name in the report.
        model: Base model, on the Hub, a folder or `known-truth`; default: that of the baseline.
        adapter: LoRA adapter on it (a folder that `recipes/sft.py` or `recipes/dpo.py` wrote).
        answers: Instead of a model: a `.jsonl` file of `prompt_id` or `question`, and `answer`.
    """

    name: str
    model: str | None = None
    adapter: str | None = None
    answers: str | None = None

    def __post_init__(self) -> None:
        """Check that it is one thing.

        Raises:
            ConfigError: Both ready answers and a model.
        """
        if self.answers and (self.model or self.adapter):
            raise ConfigError(
                f"{self.name}: has answers and a model; name one of them, so that it is clear whose"
                " answers are judged"
            )
        if self.model is not None:
            object.__setattr__(self, "model", place_of_language_model(self.model))


@dataclass(frozen=True)
class Sampling:
    """How answers are generated.

    Attributes:
        backend: `transformers`, `vllm`, or `auto`: vLLM where it is installed and there is a GPU.
        max_new_tokens: Longest answer; the report says how many were cut there.
        temperature: 0 takes the likeliest token.
        top_p: Share of probability that is sampled from.
        stop: Texts that end an answer; default: the beginning of another question.
        batch_size: Questions at a time; changes no answer beyond rounding.
        seed: Each question has its own stream of random numbers, made from it.
        dtype: Of the weights; default: bfloat16 on a GPU, float32 on a CPU.
        load_in_4bit: NF4 weights, as QLoRA trained on.
        trust_remote_code: Run the code that models bring along. Read it first.
    """

    backend: str = "auto"
    max_new_tokens: int = 512
    temperature: float = 1.0
    top_p: float = 0.95
    stop: tuple[str, ...] | None = None
    batch_size: int = 8
    seed: int = 0
    dtype: str | None = None
    load_in_4bit: bool = False
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: A value that no generation could use.
        """
        require_one_of("generation.backend", self.backend, BACKENDS)
        if self.max_new_tokens < 1 or self.batch_size < 1:
            raise ConfigError(
                f"generation: max_new_tokens {self.max_new_tokens}, batch_size {self.batch_size}; "
                "expected at least 1 each"
            )
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"generation: temperature {self.temperature}, top_p {self.top_p}; expected a "
                "temperature of 0 or more and top_p in (0, 1]"
            )
