"""Preference losses with a confidence for every pair, as plain functions on tensors.

Notation: `delta` is `(log pi(y_c) - log ref(y_c)) - (log pi(y_r) - log ref(y_r))` with log
probabilities summed over answer tokens, `h = beta * delta` is the scaled margin, `c` in [0.5, 1] is
the probability that the chosen answer is the one that the reader liked better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PREFERENCE_LOSSES = ("cdpo", "rdpo_paper", "rdpo", "dpo", "ipo", "ipo_paper")
NLL_REDUCTIONS = ("token_mean", "pair_mean", "sum")
PAPER_EPSILON_MAX = 0.45


def cdpo_loss(h: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """Cross-entropy against the confidence: `-c log s(h) - (1 - c) log s(-h)`.

    The gradient is `s(h) - c`: a coin flip (`c = 0.5`) pulls nowhere at `h = 0`, and the loss is
    smallest where the model is exactly as sure as the label, `s(h) = c`.

    Args:
        h: Scaled margins, shape `(pairs,)`.
        confidence: `c` per pair, shape `(pairs,)`.

    Returns:
        Loss per pair, shape `(pairs,)`.

    Relations:
        `c = 1` is DPO, https://arxiv.org/abs/2305.18290 (conservative DPO is described there and in
        https://ericmitchell.ai/cdpo.pdf).
    """
    from torch.nn.functional import logsigmoid

    return -confidence * logsigmoid(h) - (1 - confidence) * logsigmoid(-h)


def rdpo_loss(h: torch.Tensor, epsilon: torch.Tensor | float) -> torch.Tensor:
    """Robust DPO: `[-(1 - e) log s(h) + e log s(-h)] / (1 - 2e)`, https://arxiv.org/abs/2403.00409.

    An unbiased estimate of the DPO loss when labels are flipped at rate `e`. Its gradient at
    `h = 0` is `-1 / (2 (1 - 2e))`, so with an `e` per pair the least certain pairs pull hardest,
    and it has no lower bound (the flipped term grows without limit as `h` grows).

    Args:
        h: Scaled margins, shape `(pairs,)`.
        epsilon: Rate of flipped labels below 0.5, one for all pairs or shape `(pairs,)`.

    Returns:
        Loss per pair, shape `(pairs,)`.

    Relations:
        One `epsilon` for all pairs is TRL's `robust`; `epsilon = 0` is DPO.
    """
    from torch.nn.functional import logsigmoid

    return (-(1 - epsilon) * logsigmoid(h) + epsilon * logsigmoid(-h)) / (1 - 2 * epsilon)


def paper_epsilon(confidence: torch.Tensor) -> torch.Tensor:
    """Noise rate per pair as the IFLLM paper sets it: `clamp(1 - c, 0, 0.45)`."""
    return (1 - confidence).clamp(0.0, PAPER_EPSILON_MAX)


def dpo_loss(h: torch.Tensor) -> torch.Tensor:
    """DPO: `-log s(h)`, https://arxiv.org/abs/2305.18290; the confidence is not used."""
    from torch.nn.functional import logsigmoid

    return -logsigmoid(h)


def ipo_loss(delta: torch.Tensor, beta: float) -> torch.Tensor:
    """IPO: `(delta - 1 / (2 beta))^2`, https://arxiv.org/abs/2310.12036.

    Args:
        delta: Margins that are *not* scaled by beta, shape `(pairs,)`: of log probabilities per
            token (`ipo`, as TRL has it) or summed over tokens (`ipo_paper`).
        beta: Regularisation, called tau in the paper.

    Returns:
        Loss per pair, shape `(pairs,)`.
    """
    return (delta - 1 / (2 * beta)) ** 2


def preference_loss(
    kind: str,
    delta: torch.Tensor,
    delta_per_token: torch.Tensor,
    confidence: torch.Tensor,
    beta: float,
    noise_rate: float = 0.0,
) -> torch.Tensor:
    """Loss per pair of one of `PREFERENCE_LOSSES`.

    Args:
        kind: `cdpo`, `rdpo_paper`, `rdpo`, `dpo`, `ipo` or `ipo_paper`.
        delta: Unscaled margins of summed log probabilities, shape `(pairs,)`.
        delta_per_token: The same with each log ratio divided by its answer's number of tokens;
            used by `ipo` only.
        confidence: `c` per pair, shape `(pairs,)`; used by `cdpo` and `rdpo_paper`.
        beta: Scale of the margin.
        noise_rate: The one rate of flipped labels that `rdpo` uses.

    Returns:
        Loss per pair, shape `(pairs,)`.
    """
    match kind:
        case "cdpo":
            return cdpo_loss(beta * delta, confidence)
        case "rdpo_paper":
            return rdpo_loss(beta * delta, paper_epsilon(confidence))
        case "rdpo":
            return rdpo_loss(beta * delta, noise_rate)
        case "dpo":
            return dpo_loss(beta * delta)
        case "ipo":
            return ipo_loss(delta_per_token, beta)
        case "ipo_paper":
            return ipo_loss(delta, beta)
    raise ValueError(f"preference loss {kind!r} is not one of {', '.join(PREFERENCE_LOSSES)}")


def nll_loss(
    token_logps: torch.Tensor,
    mask: torch.Tensor,
    reduction: str,
    n_pairs: torch.Tensor | float,
    n_tokens: torch.Tensor | float,
) -> torch.Tensor:
    """Negative log likelihood of the chosen answers of one micro batch.

    The counts are those of the whole accumulated batch, so the losses of its micro batches add up
    to the loss of the batch, whatever way it was cut.

    Args:
        token_logps: Log probability per token, shape `(pairs, length)`.
        mask: 1 on answer tokens, same shape.
        reduction: `token_mean`: nats per token, each token counts the same. `pair_mean`:
            each answer counts the same, whatever its length. `sum`: nats per answer, as in the
            IFLLM paper; hundreds of times the preference term (about 0.7), so training becomes
            fine-tuning on the chosen answers, long ones first.
        n_pairs: Pairs in the accumulated batch.
        n_tokens: Chosen tokens in the accumulated batch.

    Returns:
        This micro batch's share of the loss, a scalar.
    """
    per_pair = -(token_logps * mask).sum(dim=1)
    match reduction:
        case "token_mean":
            return per_pair.sum() / n_tokens
        case "pair_mean":
            return (per_pair / mask.sum(dim=1).clamp(min=1)).sum() / n_pairs
        case "sum":
            return per_pair.sum() / n_pairs
    raise ValueError(f"nll_reduction {reduction!r} is not one of {', '.join(NLL_REDUCTIONS)}")
