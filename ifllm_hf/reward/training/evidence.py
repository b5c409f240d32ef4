"""Fitting the evidence head in closed form, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ifllm_hf.reward.baselines.late_reading import LateReading, Signals
from ifllm_hf.reward.model.configuration_ifllm import CONTEXT
from ifllm_hf.reward.model.modeling_evidence_ifllm import EvidenceHead, moderators
from ifllm_hf.reward.training.examples import Example

_TICKS = ("trajectory", "trajectory_observed", "trajectory_time_ms", "trajectory_mask")


def fit_evidence_head(model: Any, examples: Sequence[Example]) -> None:
    """Fit the head of a fresh model on pairs, and leave it fixed.

    Args:
        model: With `evidence_head`; changed in place. Without a pair the head says nothing.
        examples: What is trained on; single answers teach it nothing.
    """
    pairs = [e for e in examples if len(e["rows"]) == 2]
    if not pairs:
        return
    head, channels = model.model.evidence, list(model.config.channels)
    answers = [_look(features, channels) for e in pairs for features in e["rows"]]
    chars, share, recorded, habit, context = (
        np.stack(part).astype(np.float64) for part in zip(*answers, strict=True)
    )
    first, other = slice(0, None, 2), slice(1, None, 2)
    known = recorded.astype(bool)
    both = known[first] & known[other]
    signals = Signals(
        length=np.log1p(chars[first]) - np.log1p(chars[other]),
        late=np.where(both, share[first] - share[other], 0.0),
        habit=np.where(both, habit[first] - habit[other], 0.0),
        context=context[first],
    )
    confidence = np.array([e["confidence"] for e in pairs], dtype=np.float64)
    fitted = LateReading().fit_signals(signals, confidence, np.zeros(len(pairs)))
    fitted.typical_log_chars = float(np.log1p(chars).mean())
    count = np.maximum(known.sum(axis=0), 1)
    fitted.typical_log_share = np.where(known, share, 0.0).sum(axis=0) / count
    load_head(head, fitted)


def load_head(head: EvidenceHead, fitted: LateReading) -> None:
    """Give a head the weights of a fitted `LateReading`."""
    head.load_state_dict(
        {name: torch.tensor(value) for name, value in fitted.head_weights().items()}
    )


def _look(features: Mapping[str, Any], channels: list[str]) -> tuple[Any, ...]:
    """Return what the head knows of one answer: chars, shares, recorded, habit, moderators."""
    columns = len(LateReading().typical_log_share)
    context = dict(zip(CONTEXT, torch.tensor(features["context"]).unsqueeze(1), strict=True))
    habit = features.get("trajectory_history")
    habit = np.zeros(columns) if habit is None else habit
    if not len(features.get("trajectory", ())):
        nothing, reading_ms = np.zeros(columns), torch.tensor([torch.nan])
        share, recorded = nothing, nothing
    else:
        late = EvidenceHead().late_shares(
            {name: torch.as_tensor(np.asarray(features[name])).unsqueeze(0) for name in _TICKS},
            channels,
        )
        assert late is not None
        share, recorded = late.log_share[0].numpy(), late.recorded[0].numpy()
        reading_ms = late.reading_ms
    around = moderators(context, reading_ms)[0].numpy()
    return float(context["answer_chars"]), share, recorded, habit, around
