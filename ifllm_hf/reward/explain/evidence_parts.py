"""What moved the lead of one answer over another, exactly: the parts of an evidence head.

Nothing is approximated. The head's columns are e_k = slope_k ln(s_k + floor_k), and a share s_k is
an integral over the ticks (`modeling_evidence_ifllm.late_shares`), so a stretch of reading in which
a channel adds x to s_k has

    slope_k (ln(s_k + floor_k) - ln(floor_k)) x / s_k

of it. That is its Aumann-Shapley value (the integrated gradient) along the straight line from a
reading that rested on no answer to what was recorded: there s_k grows linearly, and everything that
is in it at the same rate. What was recorded at all, and the time of reading, stay as they are.
ln(floor_k) and the means of training are the same for both answers and leave their difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ifllm_hf.errors import DataError
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.model.evidence_inputs import HISTORY
from ifllm_hf.reward.model.modeling_evidence_ifllm import FLOOR, HALF_LIVES, late_integral

TENTHS = 10


@dataclass(frozen=True)
class EvidenceExplanation:
    """What makes the lead of answer b over answer a; positive is towards b.

    Attributes:
        lead: Score of b less that of a; the sum of the five parts that follow.
        length: Of the two lengths.
        mouse: Of where the mouse was.
        gaze: Of where the eyes were.
        habit: Of the reader's earlier turns, whose habit is taken off; 0 where none is known.
        rest: Of all that the model reads beside the head, the text first of all.
        chars: Characters of a and of b.
        reading_ms: Time of reading, on a clock in which no tick stands for more than a second; NaN
            without a tick.
        seconds: `[seconds, 2, 2]` what each second on that clock adds, by channel (mouse, gaze) and
            answer that it was on (a, b). Over seconds and answers they add up to `mouse`, `gaze`.
        tenths: `[10, 2, 2]` the same by tenth of reading.
        on_ms: `[10, 2, 2]` the time that mouse and gaze were on a and b in each tenth.
    """

    lead: float
    length: float
    mouse: float
    gaze: float
    habit: float
    rest: float
    chars: tuple[int, int]
    reading_ms: float
    seconds: FloatArray
    tenths: FloatArray
    on_ms: FloatArray


def explain_evidence(
    model: Any,
    processor: Any,
    question: Any,
    answers: Sequence[str],
    ticks: Any = None,
    *,
    history: Sequence[Mapping[str, Any]] | None = None,
) -> EvidenceExplanation:
    """Split the lead of the second answer over the first into its parts.

    Args:
        model: `IFLLMForRewardModeling` with an evidence head.
        processor: Its processor.
        question: As for the processor.
        answers: Two texts.
        ticks: What the reader did, as for the processor; None for nothing.
        history: Rows of the reader's earlier turns, as for the processor.

    Raises:
        DataError: The model has no evidence head, there are not two answers, or as the processor.
    """
    if not model.config.evidence_head:
        raise DataError(
            "the model has no evidence head (evidence_head is false in its config), and only that "
            "has exact parts. Ask `explain` what moved it."
        )
    if isinstance(answers, str) or len(answers) != 2:
        seen = "one" if isinstance(answers, str) else len(answers)
        raise DataError(f"answers: {seen}; expected two texts, of which one can lead.")
    processor.check_config(model.config)
    batch = processor(question, list(answers), ticks, return_tensors="pt", history=history)
    inputs = dict(batch.to(model.device))
    head, channels = model.model.evidence, list(model.config.channels)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model(**inputs)
            evidence = head(inputs, channels)
            of_anybody = head({n: v for n, v in inputs.items() if n != HISTORY}, channels)
            late = head.late_shares(inputs, channels)
    finally:
        model.train(was_training)
    score = output.logits[:, 0].double()
    seconds, tenths, on_ms = np.zeros((0, 2, 2)), np.zeros((TENTHS, 2, 2)), np.zeros((TENTHS, 2, 2))
    reading_ms, by_channel = np.nan, np.zeros(2)
    if late is not None and inputs["trajectory_mask"].any():
        reading_ms = float(late.reading_ms[0])
        answer = [
            _Reading(late.on_this[i], late.own[i], late.left[i], late.weight[i], evidence.slope[i])
            for i in range(2)
        ]
        by_second = np.arange(np.ceil(reading_ms / 1000) + 1) * 1000 / max(reading_ms, 1e-3)
        by_tenth = np.arange(TENTHS + 1) / TENTHS
        of_answer = np.array([-1.0, 1.0])  # what speaks for a takes from the lead of b
        seconds, tenths = (
            np.stack([one.moved(edges) for one in answer], axis=2) * of_answer
            for edges in (by_second, by_tenth)
        )
        on_ms = np.stack([one.on(by_tenth) for one in answer], axis=2) * reading_ms
        by_channel = tenths.sum(axis=(0, 2))
    return EvidenceExplanation(
        lead=_lead(score),
        length=_lead(evidence.length),
        mouse=float(by_channel[0]),
        gaze=float(by_channel[1]),
        habit=_lead(evidence.late - of_anybody.late),
        rest=_lead(score - output.evidence.double().sum(1)),
        chars=(len(answers[0]), len(answers[1])),
        reading_ms=reading_ms,
        seconds=seconds,
        tenths=tenths,
        on_ms=on_ms,
    )


def _lead(values: Tensor) -> float:
    return float(values[1] - values[0])


class _Reading:
    """The ticks of one answer, and what a share of them is worth."""

    def __init__(
        self, on_this: Tensor, own: Tensor, left: Tensor, weight: Tensor, slope: Tensor
    ) -> None:
        """Take rows of `LateShares` and of `Evidence.slope`."""
        self.on_this, self.own, weight, slope = (
            x.double().cpu() for x in (on_this, own, weight, slope)
        )
        self.left = left.double().cpu().unsqueeze(-1)
        weight = weight.reshape(2, -1, len(HALF_LIVES))  # channels, three columns, half-lives
        slope = slope.reshape(-1, len(HALF_LIVES))
        share = torch.einsum("cjh,ch->jh", weight, self._shares_before(np.inf))
        floor = FLOOR * torch.tensor(HALF_LIVES, dtype=torch.float64)
        worth = slope * torch.log1p(share / floor) / share.clamp(min=1e-300)
        self.worth = torch.einsum("cjh,jh->ch", weight, worth)

    def moved(self, edges: FloatArray) -> FloatArray:
        """Return `[stretches, 2]`: what each stretch adds to the score, by channel."""
        added = self._between(edges, self._shares_before)
        return np.asarray((added * self.worth).sum(-1))

    def on(self, edges: FloatArray) -> FloatArray:
        """Return `[stretches, 2]`: how much of the reading time was spent on it, by channel."""
        return np.asarray(self._between(edges, lambda e: (self.on_this * self._before(e)).sum(0)))

    def _between(self, edges: FloatArray, before: Callable[[float], Tensor]) -> Tensor:
        """Return what lies between edges, in shares of the reading time; the last is its end."""
        ends = [*edges[:-1].tolist(), np.inf]  # rounding leaves nothing behind the last
        return torch.stack([before(end) for end in ends]).diff(dim=0)

    def _shares_before(self, edge: float) -> Tensor:
        """Return `[2, 3]`: the shares of mouse and gaze, by half-life, that reading had so far."""
        kernel = late_integral(self.left, self._before(edge))
        return (self.on_this.unsqueeze(-1) * kernel).sum(0)

    def _before(self, edge: float) -> Tensor:
        """Return `[time, 2]`: how much of each tick lies before a place in reading."""
        return torch.minimum((edge - (1 - self.left)).clamp(min=0), self.own)
