"""Log probabilities of the tokens that are scored, without logits of the whole batch.

TRL's fused head finds the scored tokens by a mask, which a GPU has to wait for, and computes every
tile of logits twice. Here the collator says where they are. Where TRL has kernels (Triton), they
do the rest. Elsewhere a head that is not trained, which an adapter leaves as it is, gets its
gradient in the forward pass, while the logits of a chunk of tokens are there: a third less
arithmetic, and no pass over logits but those of `cross_entropy`.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint
from trl.kernels import ChunkedLogProbFunction
from trl.kernels.chunked_logprob import _use_triton
from trl.trainer.utils import maybe_gather_lm_head_ctx

_WORDS_OF_A_TILE = 32768  # TRL's, for its kernels
_LOGITS_OF_A_CHUNK = 2**23  # 32 MB in float32
# What models do to their logits before the softmax; TRL's head knows all of them.
_CHANGES_LOGITS = (
    *("final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier"),
    "logits_scaling",
)


def add_answer_head(model: Any) -> None:
    """Let `model(..., scored_at=..., targets=...)` return log probabilities of the targets.

    `scored_at`, (scored,), are places in the one row that is read, `targets`, (scored,), the tokens
    that follow; what is returned has the shape (scored,). Without `targets` the model is what it
    was.

    Args:
        model: A causal language model that has TRL's fused head.
    """
    before = model.forward
    config = model.config.get_text_config()
    changes = any(getattr(config, name, None) is not None for name in _CHANGES_LOGITS)

    @functools.wraps(type(model).forward)
    def forward(
        self: Any,
        *args: Any,
        scored_at: torch.Tensor | None = None,
        targets: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        if scored_at is None or targets is None:
            return before(*args, **kwargs)
        if changes:
            labels = torch.full_like(kwargs["input_ids"], -100)
            labels[0].index_copy_(0, scored_at, targets)
            out = before(*args, shift_labels=labels, fused_lm_head=True, **kwargs)
            return out.log_probs[0].index_select(0, scored_at)
        # Looked up on each call: FSDP and PEFT replace both.
        hidden = self.base_model(*args, **kwargs).last_hidden_state.flatten(0, 1)
        return _whole_head(hidden.index_select(0, scored_at), self.get_output_embeddings(), targets)

    model.forward = types.MethodType(forward, model)


# The number of chunks depends on the batch, and a graph would be made anew for each.
@torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
def _whole_head(hidden: torch.Tensor, head: Any, targets: torch.Tensor) -> torch.Tensor:
    """Return `target_log_probs` with a head that may be sharded, or on another device."""
    weight, bias = head.weight, getattr(head, "bias", None)
    hidden, targets = hidden.to(weight.device), targets.to(weight.device)
    if isinstance(weight, DTensor):
        weight = weight.full_tensor()
        bias = None if bias is None else bias.full_tensor()
    with maybe_gather_lm_head_ctx(weight, bias):
        return target_log_probs(hidden, weight, bias, targets)


def target_log_probs(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    """Return the log probability of one word for each token.

    Args:
        hidden: (tokens, features).
        weight: (words, features).
        bias: (words,), or None.
        targets: (tokens,).

    Returns:
        (tokens,), float32.
    """
    found: torch.Tensor
    if _use_triton(hidden.device):
        found = ChunkedLogProbFunction.apply(
            hidden, weight, bias, targets, 1.0, _WORDS_OF_A_TILE, None, 1.0, ("log_probs",)
        )[0]
    elif weight.requires_grad or (bias is not None and bias.requires_grad):
        size = _chunk(weight)
        parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        again = [checkpoint(_scores, h, weight, bias, t, use_reentrant=False) for h, t in parts]
        found = torch.cat(again)
    else:
        found = _FrozenHead.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return found


def _chunk(weight: torch.Tensor) -> int:
    return max(1, _LOGITS_OF_A_CHUNK // weight.shape[0])


def _scores(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, targets: torch.Tensor
) -> torch.Tensor:
    return -cross_entropy(linear(hidden, weight, bias).float(), targets, reduction="none")


class _FrozenHead(torch.autograd.Function):
    """`_scores` in chunks. Tokens do not mix: what comes back only scales each one's gradient."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, *head: Any) -> torch.Tensor:
        weight, bias, targets = head
        size = _chunk(weight)
        scores: list[torch.Tensor] = []
        gradients: list[torch.Tensor] = []
        for tokens, wanted in zip(
            torch.split(hidden, size), torch.split(targets, size), strict=True
        ):
            if not ctx.needs_input_grad[0]:
                scores.append(_scores(tokens, weight, bias, wanted))
                continue
            with torch.enable_grad():
                tokens = tokens.detach().requires_grad_()
                score = _scores(tokens, weight, bias, wanted)
            gradients += torch.autograd.grad(score, tokens, torch.ones_like(score))
            scores.append(score.detach())
        if gradients:
            ctx.save_for_backward(torch.cat(gradients))
        return torch.cat(scores)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> Any:
        (gradient,) = ctx.saved_tensors
        (grad,) = grad_outputs
        return (gradient * grad[:, None]).to(gradient.dtype), None, None, None


def sum_dtype() -> torch.dtype:
    """Return what log probabilities of whole answers are in: float64, which Apple's GPUs lack.

    An answer of 700 tokens has thousands of nats at first, where float32 has steps of 5e-4: as
    differences of such sums, margins would be off by as much.
    """
    return torch.float32 if torch.backends.mps.is_available() else torch.float64


def answer_sums(token_logps: torch.Tensor) -> torch.Tensor:
    """Sum log probabilities of tokens, shape `(answers, length)`, by answer; see `sum_dtype`."""
    return token_logps.sum(dim=1, dtype=sum_dtype())
