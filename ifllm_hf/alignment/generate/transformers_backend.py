"""Answers by `transformers`, on whatever device is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList
from transformers.generation.logits_process import TopPLogitsWarper

from ifllm_hf.alignment.generate.backend import (
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
from ifllm_hf.alignment.policy.load import load_in_precision, put_adapter
from ifllm_hf.alignment.policy.precision import Precision
from ifllm_hf.training.pretrained import model_positions


class SeededSampling(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Sample by adding Gumbel noise from a stream of random numbers of each question's own.

    argmax(log p + g) with g from the Gumbel law is a draw from p. So the likeliest token after
    this is a sample that depends on the question and the seed, not on what else is in the batch;
    and two models that answer one question are compared under the same noise.
    """

    def __init__(
        self, seeds: Sequence[int], temperature: float, top_p: float, device: torch.device
    ) -> None:
        """Start one stream for each row."""
        self.temperature = temperature
        self.nucleus = TopPLogitsWarper(top_p) if top_p < 1 else None
        self.streams = [torch.Generator(device=device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return scores, shape (batch, vocabulary), whose largest is the token drawn."""
        scores = scores.float() / self.temperature
        if self.nucleus is not None:
            scores = self.nucleus(input_ids, scores)
        uniform = torch.stack(
            [torch.rand(scores.shape[1], generator=s, device=scores.device) for s in self.streams]
        )
        tiny = torch.finfo(torch.float32).tiny  # log of 0 is no number
        exponential = (-torch.log(uniform.clamp(min=tiny))).clamp(min=tiny)
        return scores - torch.log(exponential)


class TransformersBackend:
    """Loads a base model once and puts one adapter after the other onto it."""

    name = "transformers"

    def __init__(self, style: PromptFormat, sampling: Sampling) -> None:
        """Keep the settings; nothing is loaded yet."""
        self.style, self.sampling = style, sampling
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._base: Any = None
        self._loaded: tuple[str, Precision] | None = None

    def answer(
        self, spec: ModelSpec, prompts: Sequence[JudgedPrompt], precision: Precision
    ) -> Iterator[list[tuple[JudgedPrompt, Answer]]]:
        """Yield the answers of one model, a batch at a time."""
        trusted = self.sampling.trust_remote_code
        tokenizer = load_tokenizer(spec, self.style, trust_remote_code=trusted)
        model = self._load(spec, tokenizer, precision)
        encoded = [(p, token_ids(tokenizer, p, self.style)) for p in prompts]
        room = room_for_prompts(model_positions(model), self.sampling, spec.model)
        fits = [(p, ids) for p, ids in encoded if room is None or len(ids) <= room]
        if len(fits) < len(encoded):
            inside = {p.prompt_id for p, _ in fits}
            yield [(p, Answer("", TOO_LONG, 0)) for p in prompts if p.prompt_id not in inside]
        # Alike lengths together waste no padding.
        fits.sort(key=lambda pair: len(pair[1]))
        for start in range(0, len(fits), self.sampling.batch_size):
            yield self._batch(model, tokenizer, fits[start : start + self.sampling.batch_size])

    @torch.inference_mode()
    def _batch(
        self, model: Any, tokenizer: Any, batch: Sequence[tuple[JudgedPrompt, list[int]]]
    ) -> list[tuple[JudgedPrompt, Answer]]:
        sampling = self.sampling
        padded = tokenizer.pad(
            {"input_ids": [ids for _, ids in batch]}, padding_side="left", return_tensors="pt"
        ).to(self.device)
        processors = LogitsProcessorList()
        if sampling.temperature > 0:
            seeds = [seed_of(p, sampling) for p, _ in batch]
            processors.append(
                SeededSampling(seeds, sampling.temperature, sampling.top_p, self.device)
            )
        stops = stop_texts(self.style, sampling)
        extra = {"stop_strings": stops, "tokenizer": tokenizer} if stops else {}
        written = model.generate(**padded, logits_processor=processors, **extra)
        answers = []
        for (prompt, _), row in zip(batch, written[:, padded["input_ids"].shape[1] :], strict=True):
            ids = row.tolist()
            ended = tokenizer.eos_token_id in ids
            if ended:
                ids = ids[: ids.index(tokenizer.eos_token_id)]
            # A row that met a stop text early is filled up with padding.
            ids = [i for i in ids if i != tokenizer.pad_token_id]
            text = tokenizer.decode(ids, skip_special_tokens=True)
            answers.append((prompt, finished_answer(text, stops, ended, len(ids) + ended)))
        return answers

    def _load(self, spec: ModelSpec, tokenizer: Any, precision: Precision) -> Any:
        assert spec.model is not None
        if self._loaded != (spec.model, precision):
            self._base = None
            self._base = load_in_precision(
                spec.model,
                precision,
                self.device,
                trust_remote_code=self.sampling.trust_remote_code,
            )
            self._loaded = (spec.model, precision)
        elif hasattr(self._base, "peft_config"):
            self._base = self._base.unload()
        # Ours alone: a model's own file may sample, or punish repetition. Set before an adapter is
        # put on, which generates by its base's settings.
        self._base.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=self.sampling.max_new_tokens,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        if spec.adapter is not None:
            self._base = put_adapter(self._base, spec.adapter, name=spec.adapter, base=spec.model)
        return self._base.eval()
