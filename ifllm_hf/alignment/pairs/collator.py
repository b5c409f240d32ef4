"""Make one batch of pairs, with the confidence of each: without padding, or padded as TRL does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from trl.trainer.dpo_trainer import DataCollatorForPreference

from ifllm_hf.alignment.pairs.head import sum_dtype
from ifllm_hf.alignment.pairs.unpadded import MOST_GROUPS, collate_unpadded

_REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")


@dataclass
class PairCollator(DataCollatorForPreference):  # type: ignore[misc, unused-ignore]
    """TRL's collator, or a row without padding; both with what the loss needs.

    Added to either form: `confidence`, (pairs,), 1.0 where there is none; `answer_mask`, (2 pairs,
    scored): 1 on tokens of answers that are scored; `answer_lengths`, (2 pairs,).

    Attributes:
        padded: Whether to pad as TRL does, for models that cannot read `collate_unpadded`.
        variable: Whether attention takes rows of any length in one call (`collate_unpadded`).
        most_groups: Calls of attention where it does not (`collate_unpadded`).
    """

    padded: bool = True
    variable: bool = False
    most_groups: int = MOST_GROUPS

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the batch."""
        batch: dict[str, Any]
        if self.padded:
            batch = super().torch_call(examples)
            batch["answer_mask"] = batch["completion_mask"][:, 1:]
            batch["answer_lengths"] = batch["completion_mask"].sum(dim=1)
        else:
            batch = collate_unpadded(
                examples,
                self.max_length,
                variable=self.variable,
                most_groups=self.most_groups,
            )
        for name in _REFERENCE:  # which TRL rounds to float32
            if name in examples[0]:
                sums = [example[name] for example in examples]
                batch[name] = torch.tensor(sums, dtype=sum_dtype())
        batch["confidence"] = torch.tensor(
            [example.get("confidence", 1.0) for example in examples], dtype=torch.float32
        )
        return batch


def batch_counts(batch: dict[str, Any]) -> torch.Tensor:
    """Return pairs and scored tokens of chosen answers of one batch, as floats of shape (2,)."""
    mask = batch["answer_mask"]
    n_pairs = mask.shape[0] // 2
    tokens = mask[:n_pairs].sum().float()
    return torch.stack([torch.full_like(tokens, n_pairs), tokens])
