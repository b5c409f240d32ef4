"""The two ways in which behaviour enters the reward model, and what they share.

Travels with a model: imports its configuration, torch and transformers alone.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_ifllm import IFLLMConfig
from .padding import left_aligned

_SHORTEST_S, _LONGEST_S = 0.25, 1200.0
"""Periods of the time encoding: from a few ticks to the longest reading."""


def drop_modalities(inputs: dict[str, Tensor], rate: float, pairs: int) -> dict[str, Tensor]:
    """Take inputs from rows at random, the same ones from both rows of a pair."""
    out = dict(inputs)
    some = next(iter(inputs.values()))

    def keep(*shape: int) -> Tensor:
        kept = torch.rand(some.shape[0], *shape, device=some.device) >= rate
        if pairs:
            kept[pairs : 2 * pairs] = kept[:pairs]
        return kept

    if "token_behavior" in out:
        channels = out["token_behavior"].shape[-1]
        out["token_behavior_mask"] = out["token_behavior_mask"] & keep(1, channels) & keep(1, 1)
    if "trajectory" in out:
        channels = out["trajectory"].shape[-1]
        out["trajectory_observed"] = out["trajectory_observed"] & keep(1, channels)
        with_ticks = out["trajectory_mask"].any(1, keepdim=True)
        # Text may go only where a trajectory stays, so a row never becomes empty.
        no_text = with_ticks & ~keep(1)
        out["trajectory_mask"] = out["trajectory_mask"] & (keep(1) | no_text)
        for mask in ("attention_mask", "text_mask"):
            if mask in out:
                out[mask] = out[mask] & ~no_text
    return out


def time_encoding(seconds: Tensor, size: int) -> Tensor:
    """Encode real time: sines and cosines with periods from 0.25 s to 20 min.

    Args:
        seconds: `[...]`.
        size: Even number of dimensions.

    Returns:
        `[..., size]` float32.
    """
    exponent = torch.linspace(0.0, 1.0, size // 2, device=seconds.device)
    period = _SHORTEST_S * (_LONGEST_S / _SHORTEST_S) ** exponent
    phase = seconds.float().unsqueeze(-1) * (2 * math.pi / period)
    return torch.cat([phase.sin(), phase.cos()], dim=-1)


class TokenBehavior(nn.Module):
    """What happened on each token, as a vector to add to its embedding; zero in a fresh model."""

    def __init__(self, config: IFLLMConfig, hidden_size: int) -> None:
        """Build for token embeddings of `hidden_size`."""
        super().__init__()
        self.enter = nn.Linear(2 * len(config.token_channels), config.token_hidden_size)
        self.leave = nn.Linear(config.token_hidden_size, hidden_size)
        self.gate = nn.Parameter(torch.zeros(hidden_size))
        self.dropout = nn.Dropout(config.behavior_dropout)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Return `[batch, tokens, hidden]`; zero at tokens of which nothing was observed.

        Args:
            values: `[batch, tokens, channels]`.
            observed: The same shape, bool.
        """
        known = observed.to(self.gate.dtype)
        entered = self.enter(torch.cat([values.to(known.dtype) * known, known], dim=-1))
        left = self.leave(self.dropout(F.gelu(entered))) * self.gate
        return left * observed.any(dim=-1, keepdim=True)  # type: ignore[no-any-return]


class TrajectoryAttention(nn.Module):
    """Multi-head attention over ticks; torch picks the kernel, or none under `eager`."""

    def __init__(self, config: IFLLMConfig) -> None:
        """Build for the width of the trajectory."""
        super().__init__()
        self.config = config
        size = config.trajectory_hidden_size
        self.heads = config.trajectory_heads
        self.ask = nn.Linear(size, size)
        self.tell = nn.Linear(size, 2 * size)
        self.out = nn.Linear(size, size)

    def forward(self, queries: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Return `[batch, queries, size]`.

        Args:
            queries: `[batch, queries, size]`.
            states: `[batch, time, size]`.
            mask: `[batch, time]` bool, True where valid; at least one per row.
        """
        q = self._split(self.ask(queries))
        k, v = (self._split(part) for part in self.tell(states).chunk(2, dim=-1))
        eagerly = self.config._attn_implementation == "eager"
        attend: Any = _attend_eagerly if eagerly else F.scaled_dot_product_attention
        seen = attend(q, k, v, attn_mask=mask[:, None, None, :])
        return self.out(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)


def _attend_eagerly(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
    weight = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
    weight = weight.masked_fill(~attn_mask, torch.finfo(weight.dtype).min)
    return weight.softmax(dim=-1, dtype=torch.float32).to(v.dtype) @ v


class TrajectoryLayer(GradientCheckpointingLayer):  # type: ignore[misc, unused-ignore]
    """One layer of the trajectory encoder: norm first, then attention and a small MLP."""

    def __init__(self, config: IFLLMConfig) -> None:
        """Build one layer."""
        super().__init__()
        size = config.trajectory_hidden_size
        self.norm_attention = nn.LayerNorm(size)
        self.attention = TrajectoryAttention(config)
        self.norm_mlp = nn.LayerNorm(size)
        self.enter = nn.Linear(size, 2 * size)
        self.leave = nn.Linear(2 * size, size)
        self.dropout = nn.Dropout(config.behavior_dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return `[batch, time, size]` for states of that shape and a bool mask."""
        normed = self.norm_attention(states)
        states = states + self.dropout(self.attention(normed, normed, mask))
        mlp = self.leave(F.gelu(self.enter(self.norm_mlp(states))))
        return states + self.dropout(mlp)  # type: ignore[no-any-return]


class TrajectoryEncoder(nn.Module):
    """The ticks of a turn, embedded one by one, averaged in patches, encoded by a transformer.

    Time is real: each tick carries the time since the one before it, each patch a continuous
    encoding of its mean time, so that irregular rates and gaps mean what they are.
    """

    def __init__(self, config: IFLLMConfig) -> None:
        """Build for the channels of the config."""
        super().__init__()
        size = config.trajectory_hidden_size
        self.patch = config.trajectory_patch
        self.size = size
        self.tick = nn.Linear(2 * len(config.channels) + 1, size)
        self.start = nn.Parameter(torch.zeros(size))
        self.layers = nn.ModuleList(
            TrajectoryLayer(config) for _ in range(config.trajectory_layers)
        )
        self.norm = nn.LayerNorm(size)

    def forward(
        self, values: Tensor, observed: Tensor, time_ms: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            values: `[batch, time, channels]`.
            observed: The same shape, bool.
            time_ms: `[batch, time]`.
            mask: `[batch, time]` bool.

        Returns:
            States `[batch, 1 + patches, size]` and their mask; the first entry is always valid.
        """
        short = -time_ms.shape[1] % self.patch
        values, observed = (F.pad(x, (0, 0, 0, short)) for x in (values, observed))
        time_ms, mask = (F.pad(x, (0, short)) for x in (time_ms.float(), mask))
        _, mask, values, observed, time_ms = left_aligned(mask, values, observed, time_ms)
        dtype = self.start.dtype
        since = F.pad(time_ms.diff(dim=1), (1, 0)).clamp(min=0) * mask
        known = observed.to(dtype)
        ticks = torch.cat(
            [values.to(dtype) * known, known, torch.log1p(since / 100).to(dtype).unsqueeze(-1)], -1
        )
        patches = (mask.shape[0], -1, self.patch)
        weight = mask.reshape(patches)
        count = weight.sum(-1).clamp(min=1)
        embedded = F.gelu(self.tick(ticks)).reshape(*patches, self.size)
        states = (embedded * weight.unsqueeze(-1)).sum(2) / count.unsqueeze(-1)
        seconds = (time_ms.reshape(patches) * weight).sum(-1) / (1000 * count)
        states = states + time_encoding(seconds, self.size).to(states.dtype)
        start = self.start.expand(states.shape[0], 1, -1).to(states.dtype)
        states = torch.cat([start, states], dim=1)
        valid = F.pad(weight.any(-1), (1, 0), value=True)
        for layer in self.layers:
            states = layer(states, valid)
        return self.norm(states), valid


class TrajectoryJoin(nn.Module):
    """Lets the text ask the trajectory, and adds the answer to it through a gate."""

    queries = 4

    def __init__(self, config: IFLLMConfig, hidden_size: int) -> None:
        """Build for pooled text of `hidden_size`, or for no text at all."""
        super().__init__()
        size = config.trajectory_hidden_size
        self.query = nn.Parameter(torch.zeros(self.queries, size))
        self.ask = nn.Linear(hidden_size, size) if config.use_text else None
        self.attention = TrajectoryAttention(config)
        self.norm = nn.LayerNorm(self.queries * size)
        self.enter = nn.Linear(self.queries * size, size)
        self.leave = nn.Linear(size, hidden_size)
        # Without text there is no text model to be equal to.
        self.gate = nn.Parameter(torch.zeros(hidden_size)) if config.use_text else None
        self.dropout = nn.Dropout(config.behavior_dropout)

    def forward(self, text: Tensor | None, states: Tensor, mask: Tensor) -> Tensor:
        """Return `[batch, hidden]`; zero for rows without a tick.

        Args:
            text: `[batch, hidden]` pooled text.
            states: `[batch, 1 + patches, size]`.
            mask: `[batch, 1 + patches]` bool, the first entry True.
        """
        query = self.query.to(states.dtype).expand(states.shape[0], -1, -1)
        if self.ask is not None and text is not None:
            query = query + self.ask(text.to(query.dtype)).unsqueeze(1)
        answer = self.norm(self.attention(query, states, mask).flatten(1))
        joined = self.leave(self.dropout(F.gelu(self.enter(answer))))
        if self.gate is not None:
            joined = joined * self.gate
        return joined * mask[:, 1:].any(dim=1, keepdim=True)  # type: ignore[no-any-return]
