"""`pipeline("implicit-reward")`: question, answers and ticks in, scores out.

Travels with a model: imports torch and transformers alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from transformers import Pipeline

BEHAVIOR_MASKS = ("token_behavior_mask", "trajectory_observed", "trajectory_mask")
"""All zeros, they leave the text alone."""


class ImplicitRewardPipeline(Pipeline):  # type: ignore[misc]
    """Scores the answers to a question by what they say and by how they were read.

    Example:
        >>> scorer = pipeline("implicit-reward", model="ORG/NAME")  # doctest: +SKIP
        >>> row = load_dataset("ifllm", split="train")[5]  # doctest: +SKIP
        >>> scorer(row["prompt"], [row["response_a"], row["response_b"]], row)  # doctest: +SKIP
        [{'score': 0.4, 'behavior': 0.1, 'preference': 0.6}, {'score': 0.0, ...}]
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put model and processor together.

        Raises:
            DataError: The processor's channels are not the model's.
        """
        super().__init__(*args, **kwargs)
        self.processor.check_config(self.model.config)

    def __call__(self, question: Any, answers: Any = None, ticks: Any = None, **kwargs: Any) -> Any:
        """Score answers.

        Args:
            question: A text, messages, or None; or all in one: a mapping with `question`, `answers`
                and `ticks`, or a list of such mappings.
            answers: One text or several, in the order of the sides a, b, ...
            ticks: Tick lists by column, such as a row of the dataset; None scores the text alone.
            kwargs: `include_contaminated_ticks`, and what every pipeline takes.

        Returns:
            Per answer a mapping: `score`; `behavior`, the part of the score that comes from the
            ticks (score with them minus score without); `preference`, the probability that this
            answer is preferred to the others (Bradley-Terry; None for a single answer). A list of
            such lists for a list of mappings.
        """
        if answers is not None:
            question = {"question": question, "answers": answers, "ticks": ticks}
        return super().__call__(question, **kwargs)

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save model, processor and this file."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def _sanitize_parameters(
        self, include_contaminated_ticks: bool | None = None, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"include_contaminated_ticks": include_contaminated_ticks}
        return {k: v for k, v in given.items() if v is not None}, {}, {}

    def preprocess(self, inputs: Mapping[str, Any], **kwargs: Any) -> Any:
        """Encode the answers to one question."""
        return self.processor(
            inputs["question"],
            inputs["answers"],
            inputs.get("ticks"),
            return_tensors="pt",
            **kwargs,
        )

    def _forward(self, model_inputs: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        # Masks of zeros rather than no tensors: a model without text has to be given something.
        blind = {
            name: torch.zeros_like(value) if name in BEHAVIOR_MASKS else value
            for name, value in model_inputs.items()
        }
        score = self.model(**model_inputs).logits[:, 0]
        without = self.model(**blind).logits[:, 0] if blind.keys() & set(BEHAVIOR_MASKS) else score
        return {"score": score, "behavior": score - without}

    def postprocess(
        self, model_outputs: dict[str, torch.Tensor], **kwargs: Any
    ) -> list[dict[str, float | None]]:
        """Return plain numbers."""
        score = model_outputs["score"].double()
        several = len(score) > 1
        preference: list[Any] = score.softmax(0).tolist() if several else [None]
        return [
            {"score": s, "behavior": b, "preference": p}
            for s, b, p in zip(
                score.tolist(), model_outputs["behavior"].tolist(), preference, strict=True
            )
        ]
