"""What the reward model returns, and what a wrong preference costs. Travels with a model."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.utils import ModelOutput


@dataclass
class IFLLMModelOutput(ModelOutput):  # type: ignore[misc, unused-ignore]
    """What `IFLLMModel` returns.

    Attributes:
        last_hidden_state: `[batch, tokens, hidden]` of the text; None where no text was given.
        pooler_output: `[batch, hidden]`, text and trajectory joined; None for a model of neither.
        evidence: `[batch, 2]` float32, what the length of the answer and what the end of reading
            add to its score; None without an evidence head.
        hidden_states: If asked for, per layer of the text `[batch, tokens, hidden]`.
        attentions: If asked for, per layer of the text `[batch, heads, tokens, tokens]`.
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    evidence: Tensor | None = None
    hidden_states: tuple[Tensor | None, ...] | None = None
    attentions: tuple[Tensor | None, ...] | None = None


@dataclass
class IFLLMRewardOutput(ModelOutput):  # type: ignore[misc, unused-ignore]
    """What `IFLLMForRewardModeling` returns.

    Attributes:
        loss: Scalar, where a target was given.
        logits: `[batch, 1]` float32, the score of each answer.
        likert_logits: `[batch, 1]` float32, its predicted rating; only with `likert_head`.
        evidence: `[batch, 2]` float32, the parts of the score that the length of the answer and the
            end of reading make; only with `evidence_head`.
        hidden_states: If asked for, per layer of the text `[batch, tokens, hidden]`.
        attentions: If asked for, per layer of the text `[batch, heads, tokens, tokens]`.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    likert_logits: Tensor | None = None
    evidence: Tensor | None = None
    hidden_states: tuple[Tensor | None, ...] | None = None
    attentions: tuple[Tensor | None, ...] | None = None

    @property
    def rewards(self) -> Tensor | None:
        """The score of each answer, `[batch, 1]`."""
        return self.logits


def pair_loss(
    preferred: Tensor, other: Tensor, confidence: Tensor, margin: Tensor | None = None
) -> Tensor:
    """Return the Bradley-Terry loss under uncertain labels, a scalar.

    With d = r(preferred) - r(other) - margin and confidence c, the mean of
    -c log sigmoid(d) - (1 - c) log sigmoid(-d): the cross-entropy against the confidence.

    Args:
        preferred: `[B]` scores.
        other: `[B]` scores.
        confidence: `[B]` in [0, 1].
        margin: `[B]`, or None for 0.
    """
    gap = preferred - other
    if margin is not None:
        gap = gap - margin.to(gap.device)
    confidence = confidence.to(gap)
    return -(confidence * F.logsigmoid(gap) + (1 - confidence) * F.logsigmoid(-gap)).mean()
