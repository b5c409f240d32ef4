"""Which tokens and which moments moved a score: integrated gradients over the behaviour tensors.

For a score F, observed values x and a baseline x0 of zeros (a time, a count or an extra column at
its mean over the training rows, every `on_*` and `char_share` 0; what was observed stays observed),
the share of value i is

    (x_i - x0_i) * integral over a in [0, 1] of dF/dx_i (x0 + a (x - x0)) da.

What an evidence head reads beside the ticks, the lengths and the reader's habit, is in F(x0) too.
All shares add up to F(x) - F(x0) (Sundararajan, Taly & Yan 2017, https://arxiv.org/abs/1703.01365).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.model.pipeline_ifllm import BEHAVIOR_MASKS

_VALUES = ("token_behavior", "trajectory")
_BATCH = 8
"""Points of the path that go through the model together."""


@dataclass(frozen=True)
class Explanation:
    """What moved the score of one answer; positive is towards a higher score.

    Attributes:
        score: With the reader's behaviour.
        baseline_score: With every observed value 0: times, counts and extra columns at their mean
            over the training rows, every `on_*` and `char_share` 0.
        text_score: Without behaviour.
        token_spans: `[tokens, 2]` first character of each token of the answer, and one behind its
            last, in code points.
        tokens: `[tokens, token channels]` share of each value of `token_behavior`.
        token_channels: Their names.
        time_ms: `[moments]` since the first tick of reading.
        moments: `[moments, channels]` share of each value of `trajectory`.
        channels: Their names.
    """

    score: float
    baseline_score: float
    text_score: float
    token_spans: NDArray[np.int64]
    tokens: FloatArray
    token_channels: list[str]
    time_ms: FloatArray
    moments: FloatArray
    channels: list[str]

    @property
    def gap(self) -> float:
        """What the shares miss of `score - baseline_score`; near 0 where `steps` are enough."""
        return float(self.score - self.baseline_score - self.tokens.sum() - self.moments.sum())

    def characters(self, length: int) -> FloatArray:
        """Spread the shares of the tokens evenly over their characters, `[length]`."""
        out = np.zeros(length)
        for (begin, end), share in zip(self.token_spans, self.tokens.sum(axis=1), strict=True):
            out[begin:end] += share / max(end - begin, 1)
        return out


def explain(
    model: Any,
    processor: Any,
    question: Any,
    answers: str | list[str],
    ticks: Any,
    *,
    steps: int = 32,
    include_contaminated_ticks: bool = False,
) -> list[Explanation]:
    """Explain the score of each answer to a question.

    Args:
        model: `IFLLMForRewardModeling`.
        processor: Its processor.
        question: As for the processor.
        answers: One text or several.
        ticks: What the reader did.
        steps: Points of the Gauss-Legendre quadrature along the path.
        include_contaminated_ticks: As for the processor.

    Raises:
        DataError: As the processor, or the processor's channels are not the model's.
    """
    processor.check_config(model.config)
    texts = [answers] if isinstance(answers, str) else list(answers)
    batch = processor(
        question,
        texts,
        ticks,
        return_tensors="pt",
        include_contaminated_ticks=include_contaminated_ticks,
    ).to(model.device)
    was_training = model.training
    model.eval()
    try:
        out = []
        for row, text in enumerate(texts):
            inputs = {name: value[row : row + 1] for name, value in batch.items()}
            first, spans = processor.answer_spans(question, text)
            out.append(_explain_row(model, processor, inputs, first, spans, steps))
        return out
    finally:
        model.train(was_training)


def _explain_row(
    model: Any,
    processor: Any,
    inputs: dict[str, torch.Tensor],
    first: int,
    spans: list[tuple[int, int]],
    steps: int,
) -> Explanation:
    values = {name: inputs[name] for name in _VALUES if name in inputs}
    zeros = {name: torch.zeros_like(value) for name, value in values.items()}
    blind = {name: torch.zeros_like(inputs[name]) for name in BEHAVIOR_MASKS if name in inputs}
    with torch.no_grad():
        score, baseline, text = (
            float(model(**{**inputs, **other}).logits) for other in ({}, zeros, blind)
        )
    shares = {
        name: share[0].double().cpu().numpy()
        for name, share in _integrate(model, inputs, values, steps).items()
    }
    # Where the row lies within its padding.
    length = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else 0
    left = processor.tokenizer.padding_side == "left"
    offset = first + (inputs["attention_mask"].shape[1] - length if left and length else 0)
    moments = int(inputs["trajectory_mask"].sum()) if "trajectory_mask" in inputs else 0
    extractor = processor.feature_extractor
    no_tokens = np.zeros((0, len(extractor.token_channels)))
    no_moments = np.zeros((0, len(extractor.channels)))
    time = inputs.get("trajectory_time_ms")
    return Explanation(
        score=score,
        baseline_score=baseline,
        text_score=text,
        token_spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
        tokens=shares.get("token_behavior", no_tokens)[offset : offset + len(spans)],
        token_channels=list(extractor.token_channels),
        time_ms=np.zeros(0) if time is None else time[0, :moments].double().cpu().numpy(),
        moments=shares.get("trajectory", no_moments)[:moments],
        channels=list(extractor.channels),
    )


def _integrate(
    model: Any, inputs: dict[str, torch.Tensor], values: dict[str, torch.Tensor], steps: int
) -> dict[str, torch.Tensor]:
    """Return value times mean gradient along the path from zero, by name."""
    places, weights = np.polynomial.legendre.leggauss(steps)
    total = {name: torch.zeros_like(value) for name, value in values.items()}
    for begin in range(0, steps, _BATCH):
        place, weight = (
            torch.tensor(part[begin : begin + _BATCH] / 2, device=model.device).float()
            for part in (places + 1, weights)
        )
        at = {
            name: (place.view(-1, 1, 1) * value).requires_grad_() for name, value in values.items()
        }
        fixed = {name: value.expand(len(place), *value.shape[1:]) for name, value in inputs.items()}
        score = model(**{**fixed, **at}).logits.sum()
        # A path that the model does not have leaves its values without a gradient.
        found = torch.autograd.grad(score, list(at.values()), allow_unused=True)
        for name, gradient in zip(at, found, strict=True):
            if gradient is not None:
                total[name] += (weight.view(-1, 1, 1) * gradient).sum(0, keepdim=True)
    return {name: values[name] * total[name] for name in values}
