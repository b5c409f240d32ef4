"""A trained `IFLLMForRewardModeling` beside the small rewards, where the operator names one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.metrics.ridge import sigmoid
from ifllm_space.page_numbers import number

STEPS = 16
"""Points of the integration that finds what moved the score; half the default, for a click."""


class TrainedReward:
    """Loads a folder that `save_pretrained` wrote; scores and explains turns.

    Attributes:
        name: Of the folder.
    """

    def __init__(self, folder: Path) -> None:
        """Load model and processor.

        Raises:
            ConfigError: There is no such model, or no torch to run it.
        """
        import ifllm_hf  # noqa: F401  (registers the pipeline)

        try:
            from transformers import pipeline

            self.scorer: Any = pipeline("implicit-reward", model=str(folder), device="cpu")
        except (ImportError, OSError, ValueError, KeyError) as error:
            raise ConfigError(
                f"{folder}: holds no reward model that can be loaded here ({error}). Expected what "
                "`recipes/reward.py` wrote, and the extra `train` installed."
            ) from error
        self.name = folder.name

    def view(self, turn: dict[str, Any]) -> dict[str, Any]:
        """Score a turn.

        Returns:
            JSON-ready: `name`, P(B preferred) from `text`, and with `behavior` (None without any in
            reading); what the evidence head `says` moved it, in sentences (none without that head);
            and `tokens` that moved it: side, first character, past the last, and how much of B's
            lead in score they make.
        """
        from ifllm_hf.reward.explain.evidence_parts import explain_evidence
        from ifllm_hf.reward.explain.gradients import explain
        from ifllm_hf.reward.explain.in_words import in_words

        answers = [turn[f"response_{side}"] or "" for side in "ab"]
        asked = turn["prompt"] or ""
        read = "reading" in (turn["phase"] or [])
        left, right = self.scorer(asked, answers, turn if read else None)
        lead = right["score"] - left["score"]
        without = lead - (right["behavior"] - left["behavior"])
        view: dict[str, Any] = {
            "name": self.name,
            "text": number(float(sigmoid(without))),
            "behavior": number(float(sigmoid(lead))) if read else None,
            "says": [],
            "tokens": [],
        }
        model, processor = self.scorer.model, self.scorer.processor
        if model.config.evidence_head:
            ticks = turn if read else None
            view["says"] = in_words(explain_evidence(model, processor, asked, answers, ticks))
        if read:
            explained = explain(model, processor, asked, answers, turn, steps=STEPS)
            for side, (one, sign) in enumerate(zip(explained, (-1, 1), strict=True)):
                shares = sign * one.tokens.sum(axis=1)
                view["tokens"] += [
                    (side, int(start), int(stop), number(float(share)))
                    for (start, stop), share in zip(one.token_spans, shares, strict=True)
                    if share
                ]
        return view


def load_trained(folder: Path | None) -> TrainedReward | None:
    """Load the reward model that the operator named, if any; raises as `TrainedReward` does."""
    return None if folder is None else TrainedReward(folder)
