"""Log probabilities of scored tokens equal those of plain logits, and so do their gradients."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch


def plain(hidden: torch.Tensor, weight: Any, bias: Any, targets: torch.Tensor) -> torch.Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias)
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_values_and_gradients_are_those_of_the_logits(
    tokens: int, trained: bool, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.alignment.pairs import head

    monkeypatch.setattr(head, "_LOGITS_OF_A_CHUNK", 11 * 7)  # chunks of 7 tokens
    generator = torch.Generator().manual_seed(tokens)
    hidden = torch.randn(tokens, 5, generator=generator).requires_grad_()
    weight = torch.randn(11, 5, generator=generator).requires_grad_(trained)
    shift = torch.randn(11, generator=generator).requires_grad_(trained) if bias else None
    targets = torch.randint(0, 11, (tokens,), generator=generator)
    pull = torch.randn(tokens, generator=generator)
    leaves = [x for x in (hidden, weight, shift) if x is not None and x.requires_grad]
    seen = []
    for function in (plain, head.target_log_probs):
        scores = function(hidden, weight, shift, targets)
        seen.append((scores.detach(), *torch.autograd.grad((scores * pull).sum(), leaves)))
    for ours, theirs in zip(seen[1], seen[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(
            head.target_log_probs(hidden, weight, shift, targets), seen[0][0], rtol=1e-5, atol=1e-6
        )


def test_logits_of_a_head_that_is_not_trained_are_computed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ifllm_hf.alignment.pairs import head

    calls = []
    scores = head._scores
    monkeypatch.setattr(head, "_scores", lambda *a: calls.append(0) or scores(*a))
    hidden = torch.randn(6, 4, requires_grad=True)
    head.target_log_probs(hidden, torch.randn(9, 4), None, torch.arange(6)).sum().backward()
    assert len(calls) == 1


@pytest.mark.parametrize("change", [{}, {"logit_scale": 0.5}])
def test_a_model_scores_what_it_is_asked_for(
    tiny: Callable[..., Path], change: dict[str, float]
) -> None:
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from ifllm_hf.alignment.pairs.head import add_answer_head

    model = AutoModelForCausalLM.from_pretrained(tiny())
    vars(model.config).update(change)
    add_fused_lm_head(model)
    add_answer_head(model)
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0] * change.get("logit_scale", 1.0)
        seen = model(input_ids=ids, scored_at=torch.tensor([1, 2]), targets=torch.tensor([7, 8]))
    torch.testing.assert_close(seen, logits.log_softmax(-1)[[1, 2], [7, 8]], rtol=1e-4, atol=1e-5)


def test_the_parts_of_trl_that_the_head_takes_have_not_moved() -> None:
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import add_fused_lm_head

    from ifllm_hf.alignment.pairs import head

    assert list(inspect.signature(ChunkedLogProbFunction.forward).parameters) == [
        *("ctx", "hidden", "weight", "bias", "targets", "temperature", "chunk_size"),
        *("final_logit_softcapping", "logit_scale", "outputs"),
    ]
    source = inspect.getsource(add_fused_lm_head)
    assert all(name in source for name in head._CHANGES_LOGITS)


def test_sums_of_long_answers_are_exact() -> None:
    from ifllm_hf.alignment.pairs.head import answer_sums

    rng = np.random.default_rng(0)
    logps = torch.tensor(rng.gumbel(-7.6, 2, size=(4, 700)), dtype=torch.float32)
    right = [math.fsum(row) for row in logps.tolist()]
    np.testing.assert_allclose(answer_sums(logps), right, rtol=0, atol=1e-9)
