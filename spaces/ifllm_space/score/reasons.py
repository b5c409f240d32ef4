"""Why length and reading say what they say, in sentences; where torch is installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np

from ifllm_hf.reward.baselines.late_reading import LateReading


def reasons(turn: dict[str, Any], models: Sequence[Any]) -> list[str]:
    """Return what moved the lead of B most, by the models' mean log odds.

    Args:
        turn: A row of the `pairwise` config.
        models: The fitted models that scored it.

    Returns:
        Sentences of `in_words`; none without torch, or for models of another kind.
    """
    if not all(isinstance(model, LateReading) and not model.accompanied for model in models):
        return []
    parts = _empty_model()
    if parts is None:
        return []
    from ifllm_hf.reward.explain.evidence_parts import explain_evidence
    from ifllm_hf.reward.explain.in_words import in_words
    from ifllm_hf.reward.training.evidence import load_head

    model, processor = parts
    answers = [turn[f"response_{side}"] or "" for side in "ab"]
    # An earlier turn has no part in the chance that is shown either.
    ticks = turn if "reading" in (turn["phase"] or []) else None
    told = []
    for fitted in models:
        load_head(model.model.evidence, fitted)
        told.append(explain_evidence(model, processor, turn["prompt"], answers, ticks))
    whole = {f.name: np.mean([getattr(e, f.name) for e in told], axis=0) for f in fields(told[0])}
    numbers = {n: v if v.ndim else float(v) for n, v in whole.items() if n != "chars"}
    return in_words(replace(told[0], **numbers))


@cache
def _empty_model() -> tuple[Any, Any] | None:
    """Return a model that is an evidence head alone, and its processor; None without torch."""
    try:
        from transformers import AutoModelForSequenceClassification, AutoProcessor

        from ifllm_hf.reward.pretrained.shipped import pretrained

        folder = pretrained()
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        return model, AutoProcessor.from_pretrained(folder)
    except ImportError:
        return None
