"""A batch carries what the loss needs of each pair, padded or not."""

from __future__ import annotations

from typing import Any

import pytest

# Sums as of long answers, between the numbers that float32 has.
LOGPS = {"ref_chosen_logps": [-1.5, -5000.0001], "ref_rejected_logps": [-3.0, -4321.9876]}


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_known_of_each_pair_is_in_the_batch(padded: bool, known: bool) -> None:
    from ifllm_hf.alignment.pairs.collator import PairCollator, batch_counts

    pairs: list[dict[str, Any]] = [
        {"prompt_ids": [1, 2], "chosen_ids": [3, 4, 5], "rejected_ids": [6]},
        {"prompt_ids": [7], "chosen_ids": [8], "rejected_ids": [9, 10]},
    ]
    if known:
        for i, confidence in enumerate((0.75, 0.5)):
            pairs[i] |= {"confidence": confidence, **{name: v[i] for name, v in LOGPS.items()}}
    batch = PairCollator(pad_token_id=0, padded=padded)(pairs)
    assert batch["confidence"].tolist() == ([0.75, 0.5] if known else [1.0, 1.0])
    assert {n: batch[n].tolist() for n in LOGPS if n in batch} == (LOGPS if known else {})
    assert batch["answer_lengths"].tolist() == [3, 1, 1, 2]
    assert batch_counts(batch).tolist() == [2.0, 4.0]  # pairs, and tokens of chosen answers
