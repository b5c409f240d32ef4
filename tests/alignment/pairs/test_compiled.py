"""Batches of other lengths are read by the graphs that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")
def test_new_lengths_make_no_new_graphs(tiny: Callable[..., Path]) -> None:
    from torch._dynamo.utils import counters
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from ifllm_hf.alignment.pairs.attention import IN_GROUPS
    from ifllm_hf.alignment.pairs.head import add_answer_head
    from ifllm_hf.alignment.pairs.unpadded import answer_log_probs, collate_unpadded

    model = AutoModelForCausalLM.from_pretrained(tiny())
    model.set_attn_implementation(IN_GROUPS)
    add_fused_lm_head(model)
    add_answer_head(model)
    compiled = torch.compile(model, backend="eager")
    rng = np.random.default_rng(0)
    torch._dynamo.reset()
    counters.clear()
    graphs = []
    with torch._dynamo.config.patch(recompile_limit=100):
        for _ in range(4):
            lengths = rng.integers(2, 30, size=(4, 3)).tolist()
            examples = [
                dict(
                    zip(
                        ("prompt_ids", "chosen_ids", "rejected_ids"),
                        (rng.integers(3, 40, size=n).tolist() for n in row),
                        strict=True,
                    )
                )
                for row in lengths
            ]
            batch = collate_unpadded(examples, None)
            seen = answer_log_probs(compiled, batch)
            graphs.append(counters["stats"]["unique_graphs"])
            torch.testing.assert_close(seen, answer_log_probs(model, batch), rtol=1e-4, atol=1e-5)
    torch._dynamo.reset()
    assert graphs[-1] - graphs[0] <= 3
