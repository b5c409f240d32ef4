"""Answers by vLLM, where it is installed: the same questions, much faster on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ifllm_hf.alignment.generate.backend import (
    STOPPED,
    TOO_LONG,
    Answer,
    JudgedPrompt,
    finished_answer,
    load_tokenizer,
    room_for_prompts,
    seed_of,
    stop_texts,
    token_ids,
)
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.policy.precision import Precision
from ifllm_hf.errors import ConfigError

_BATCH = 256
"""Questions handed over at a time, so that a kill loses no more; vLLM batches by itself."""


class VLLMBackend:
    """Loads a base model once; adapters come with the requests."""

    name = "vllm"

    def __init__(self, style: PromptFormat, sampling: Sampling) -> None:
        """Keep the settings.

        Raises:
            ConfigError: vLLM is not installed.
        """
        try:
            import vllm
        except ImportError as error:
            raise ConfigError(
                f"generation.backend is vllm, which cannot be imported ({error}); install vllm, or "
                "set generation.backend: transformers"
            ) from error
        self._vllm: Any = vllm
        self.style, self.sampling = style, sampling
        self._engine: Any = None
        self._loaded: tuple[str, Precision] | None = None
        self._adapters: dict[str, int] = {}

    def answer(
        self, spec: ModelSpec, prompts: Sequence[JudgedPrompt], precision: Precision
    ) -> Iterator[list[tuple[JudgedPrompt, Answer]]]:
        """Yield the answers of one model, a batch at a time."""
        trusted = self.sampling.trust_remote_code
        tokenizer = load_tokenizer(spec, self.style, trust_remote_code=trusted)
        engine = self._load(str(spec.model), precision)
        positions = int(engine.llm_engine.model_config.max_model_len)
        room = room_for_prompts(positions, self.sampling, spec.model) or positions
        stops = stop_texts(self.style, self.sampling)
        encoded = [(p, token_ids(tokenizer, p, self.style)) for p in prompts]
        too_long = [(p, Answer("", TOO_LONG, 0)) for p, ids in encoded if len(ids) > room]
        if too_long:
            yield too_long
        fits = [(p, ids) for p, ids in encoded if len(ids) <= room]
        lora = None
        if spec.adapter is not None:
            from vllm.lora.request import LoRARequest

            number = self._adapters.setdefault(spec.adapter, len(self._adapters) + 1)
            lora = LoRARequest(spec.name, number, spec.adapter)
        for start in range(0, len(fits), _BATCH):
            batch = fits[start : start + _BATCH]
            done = engine.generate(
                [{"prompt_token_ids": ids} for _, ids in batch],
                [self._parameters(p, tokenizer, stops) for p, _ in batch],
                lora_request=lora,
                use_tqdm=False,
            )
            yield [
                (prompt, self._answer(output.outputs[0], stops))
                for (prompt, _), output in zip(batch, done, strict=True)
            ]

    def _answer(self, output: Any, stops: Sequence[str]) -> Answer:
        ended = output.finish_reason == STOPPED
        return finished_answer(output.text, stops, ended, len(output.token_ids))

    def _parameters(self, prompt: JudgedPrompt, tokenizer: Any, stops: Sequence[str]) -> Any:
        return self._vllm.SamplingParams(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            max_tokens=self.sampling.max_new_tokens,
            seed=seed_of(prompt, self.sampling),
            stop=list(stops),
            stop_token_ids=[tokenizer.eos_token_id],
        )

    def _load(self, name: str, precision: Precision) -> Any:
        if self._loaded != (name, precision):
            # vLLM quantises as it loads, to NF4 with double quantisation: see `backend_choice`.
            in_4bit = {"quantization": "bitsandbytes"} if precision.in_4bit else {}
            self._engine = None
            self._engine = self._vllm.LLM(
                model=name,
                dtype=precision.dtype or "auto",
                **in_4bit,
                enable_lora=True,
                max_lora_rank=64,
                seed=self.sampling.seed,
                trust_remote_code=self.sampling.trust_remote_code,
            )
            self._loaded = (name, precision)
        return self._engine
