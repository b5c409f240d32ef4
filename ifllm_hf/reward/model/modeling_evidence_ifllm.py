"""The evidence head: the length of an answer and what the end of reading rested on, as a score.

Its weights are those of the package's hand-made `LateReading`, its columns are computed here from
the tensors of the trajectory. Travels with a model: imports its siblings, torch and transformers
alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .configuration_ifllm import CONTEXT, EVIDENCE_CHANNELS, LATE_COLUMNS
from .padding import left_aligned

HALF_LIVES = (0.1, 0.2, 0.3)
"""Of the weight of a moment, before the end of reading, in shares of the reading time."""
HABITS = (0.0, 0.5)
"""How much of the reader's habit in earlier turns is taken off."""
TICK_CAP_MS = 1000.0
"""The longest time that one tick can stand for."""
GAZE_WEIGHT = 0.5
FLOOR = 0.15
"""Of a share, before its logarithm, in half-lives: calms down what rests on next to nothing."""
_MODERATORS = 4


@dataclass
class LateShares:
    """How much of the end of reading an answer got; see `late_shares`.

    Attributes:
        log_share: `[batch, 9]` ln(share + floor) of `LATE_COLUMNS`.
        recorded: `[batch, 9]` bool, whether the channel was.
        on_this: `[batch, time, 2]` share of each tick on this answer, of mouse and gaze; ticks
            moved to the left edge.
        own: `[batch, time, 2]` the time that it stands for, as a share of the reading time.
        left: `[batch, time]` what is left of reading when it begins, the same.
        weight: `[batch, 2, 9]` with which the shares of mouse and gaze enter the nine columns.
        reading_ms: `[batch]` time of reading; NaN without a tick.
    """

    log_share: Tensor
    recorded: Tensor
    on_this: Tensor
    own: Tensor
    left: Tensor
    weight: Tensor
    reading_ms: Tensor


@dataclass
class Evidence:
    """What the head says of each answer; a score is `length` + `late`.

    Attributes:
        length: `[batch]`.
        late: `[batch]`.
        late_of_column: `[batch, 9]`, which add up to `late`.
        slope: `[batch, 9]` by how much `late_of_column` grows with its logarithm.
    """

    length: Tensor
    late: Tensor
    late_of_column: Tensor
    slope: Tensor

    @property
    def parts(self) -> Tensor:
        """`[batch, 2]`: length and the end of reading."""
        return torch.stack([self.length, self.late], dim=1)


def late_shares(
    on_this: Tensor, on_any: Tensor, seen: Tensor, time_ms: Tensor, mask: Tensor
) -> LateShares:
    r"""Integrate over the time on an answer, weighted towards the end of reading.

    With t the time of a tick, own the time to the next tick in which its channel was seen and dt
    that to the next tick at all (both at most a second), W = Σ dt, and u0 = Σ of dt from the tick
    on / W:

        share_h = Σ on_this (h / ln 2) (2^(-(u0 - own / W) / h) - 2^(-u0 / h))

    for the mouse; `either`: for the mouse if it was on an answer at all or there is no gaze, else
    for the gaze; `pooled`: for the mouse plus half of that for the gaze.

    Args:
        on_this: `[batch, time, 2]` share of the tick on this answer, of mouse and gaze.
        on_any: `[batch, time, 2]` the same on any answer.
        seen: `[batch, time, 2]` bool, whether the channel was recorded in the tick.
        time_ms: `[batch, time]`, never decreasing.
        mask: `[batch, time]` bool, where a tick is.
    """
    _, mask, on_this, on_any, seen, time_ms = left_aligned(
        mask, on_this.float(), on_any.float(), seen.to(torch.int8), time_ms.float()
    )
    seen = seen.bool() & mask.unsqueeze(-1)
    each = torch.cat([seen, mask.unsqueeze(-1)], dim=-1)  # mouse, gaze, any tick
    own_ms = _time_to_next(time_ms, each) * each
    on_this, on_any = on_this * seen, on_any * seen
    step_ms = own_ms[..., 2]
    reading_ms = step_ms.sum(1)
    whole = reading_ms.clamp(min=1e-3)[:, None, None]
    left = step_ms.flip(1).cumsum(1).flip(1) / whole[..., 0]
    own = own_ms[..., :2] / whole
    kernel = on_this.unsqueeze(-1) * late_integral(left.unsqueeze(-1), own)
    share = kernel.sum(1)  # [batch, 2, 3]
    was_seen = seen.any(1)
    mouse_on_text = (on_any[..., 0] * own_ms[..., 0]).sum(1) > 0
    by_mouse = (mouse_on_text | ~was_seen[:, 1]).to(share)
    one, none = torch.ones_like(by_mouse), torch.zeros_like(by_mouse)
    # [batch, 2, 3]: of mouse and gaze, in mouse, either, pooled.
    weight = torch.stack(
        [
            torch.stack([one, by_mouse, one], dim=-1),
            torch.stack([none, 1 - by_mouse, GAZE_WEIGHT * one], dim=-1),
        ],
        dim=1,
    )
    columns = torch.einsum("bsc,bsh->bch", weight, share).flatten(1)
    floor = FLOOR * torch.tensor(HALF_LIVES, device=time_ms.device).repeat(3)
    recorded = torch.stack([was_seen[:, 0], was_seen.any(1), was_seen.any(1)], dim=-1)
    some = mask.any(1)
    return LateShares(
        log_share=torch.log(columns + floor),
        recorded=recorded.repeat_interleave(len(HALF_LIVES), dim=1),
        on_this=on_this,
        own=own,
        left=left,
        weight=weight.repeat_interleave(len(HALF_LIVES), dim=2),
        reading_ms=torch.where(some, reading_ms, torch.full_like(reading_ms, torch.nan)),
    )


def late_integral(left: Tensor, part: Tensor) -> Tensor:
    """Integrate the weight 2^(-u / h) over u from left - part to left, `[..., 3]` by half-life h.

    Args:
        left: `[...]` share of the reading time that is left when a stretch begins.
        part: `[...]` its length, in the same unit.
    """
    # In one step: of two almost equal powers only the difference would be rounding.
    decay = math.log(2) / torch.tensor(HALF_LIVES, dtype=part.dtype, device=part.device)
    left, part = left.unsqueeze(-1), part.unsqueeze(-1)
    return torch.exp(-decay * left) * torch.expm1(decay * part) / decay


def _time_to_next(time_ms: Tensor, seen: Tensor) -> Tensor:
    """Return `[batch, time, k]` the capped time to the next tick in which one was seen."""
    when = torch.where(seen, time_ms.unsqueeze(-1), torch.inf)
    after = torch.cat([when[:, 1:], torch.full_like(when[:, :1], torch.inf)], dim=1)
    following = after.flip(1).cummin(1).values.flip(1)
    own = following - time_ms.unsqueeze(-1)
    return torch.where(following.isinf(), 0.0, own.clamp(min=0, max=TICK_CAP_MS))


class EvidenceHead(nn.Module):
    """Scores an answer by its length and by the end of reading; linear, fitted in closed form.

        r = L (a0 + z·a) + Σ_kh e_kh (b0_kh + z·b_kh)

    L = ln(1 + characters) - its mean; e_kh = ln(share_k + floor_k) - its mean - h habit_k over nine
    columns k and two h; z the standardised logarithms of turn, question, reading time and
    answers. What is unknown is 0. z and what was recorded are the same for all answers of a turn,
    so the difference of two scores turns its sign when they are swapped.
    """

    def __init__(self) -> None:
        """Start with weights of zero: a head that says nothing."""
        super().__init__()
        columns, terms = len(LATE_COLUMNS), 1 + _MODERATORS

        self.length_weight = nn.Parameter(torch.zeros(terms))
        self.late_weight = nn.Parameter(torch.zeros(columns, len(HABITS), terms))
        self.centre = nn.Parameter(torch.zeros(_MODERATORS))
        self.spread = nn.Parameter(torch.ones(_MODERATORS))
        self.typical_log_chars = nn.Parameter(torch.zeros(()))
        self.typical_log_share = nn.Parameter(torch.zeros(columns))
        # Parameters, since a model that is this head alone needs one to say where it lies; fixed,
        # which loading forgets (see `IFLLMPreTrainedModel.from_pretrained`).
        self.requires_grad_(False)

    def forward(self, inputs: dict[str, Tensor], channels: list[str]) -> Evidence:
        """Score answers, in float32 whatever the rest of the model computes in.

        Args:
            inputs: As `check_inputs` returns them: `context` `[batch, 5]` (0 unknown),
                `trajectory_history` `[batch, 9]` (the reader's habit), the trajectory; each may be
                missing.
            channels: Names of the channels of the trajectory.
        """
        with torch.autocast(self.length_weight.device.type, enabled=False):
            return self._score(inputs, self.late_shares(inputs, channels))

    def late_shares(self, inputs: dict[str, Tensor], channels: list[str]) -> LateShares | None:
        """Return what the end of reading rested on; None without ticks. See `late_shares`."""
        if "trajectory" not in inputs:
            return None
        this, other = (
            [channels.index(name) for name in EVIDENCE_CHANNELS if name.endswith(end)]
            for end in ("on_this", "on_other")
        )
        seen = inputs["trajectory_observed"]
        known = inputs["trajectory"].float() * seen
        given = [
            x.to(self.length_weight.device)
            for x in (
                known[..., this],
                known[..., this] + known[..., other],
                seen[..., this],
                inputs["trajectory_time_ms"],
                inputs["trajectory_mask"],
            )
        ]
        return late_shares(*given)

    def _score(self, inputs: dict[str, Tensor], late: LateShares | None) -> Evidence:
        weight = self.length_weight
        rows = next(iter(inputs.values())).shape[0]
        zero = weight.new_zeros(rows)
        known = {name: zero for name in CONTEXT}
        context, history = inputs.get("context"), inputs.get("trajectory_history")
        if context is not None:
            columns = context.to(weight).unbind(1)
            known = dict(zip(CONTEXT, columns, strict=True))
        reading_ms = torch.full_like(zero, torch.nan)
        if late is not None:
            reading_ms = late.reading_ms.to(weight)
        z = self._standardised(moderators(known, reading_ms))
        chars = known["answer_chars"]
        length = torch.where(chars > 0, torch.log1p(chars) - self.typical_log_chars, 0.0)
        terms = torch.cat([torch.ones_like(z[:, :1]), z], dim=1)  # [batch, 5]
        of_length = length * (terms @ weight)
        if late is None:
            nothing = weight.new_zeros(rows, len(LATE_COLUMNS))
            return Evidence(of_length, zero, nothing, nothing)
        told = torch.einsum("bt,kht->bkh", terms, self.late_weight)
        # A single answer cannot have got more of the reading than another.
        counts = late.recorded & (known["answers"] != 1).unsqueeze(1)
        level = late.log_share.to(weight) - self.typical_log_share
        habit = torch.zeros_like(level) if history is None else history.to(level)
        habits = torch.tensor(HABITS, device=level.device)
        columns_less_habit = level.unsqueeze(-1) - habits * habit.unsqueeze(-1)
        of_column = (told * columns_less_habit).sum(-1) * counts
        return Evidence(of_length, of_column.sum(1), of_column, told.sum(-1) * counts)

    def _standardised(self, values: Tensor) -> Tensor:
        """Return `[batch, 4]`, standardised and clipped; 0 where unknown."""
        known = ~torch.isnan(values)
        # Not after the division: what is unknown would then have a gradient, and no finite one.
        off = torch.where(known, values - self.centre, 0.0)
        return (off / self.spread).clamp(-3, 3)


def moderators(known: Mapping[str, Tensor], reading_ms: Tensor) -> Tensor:
    """Return `[batch, 4]`: ln of turn, question, reading time and answers; NaN where unknown.

    Args:
        known: `[batch]` each of `configuration_ifllm.CONTEXT`, by name; 0 unknown.
        reading_ms: `[batch]`, NaN without a tick.
    """
    turn, question, total = (known[n] for n in ("turn", "question_chars", "all_answers_chars"))
    values = torch.stack(
        [
            torch.log(turn.clamp(min=1)),
            torch.log1p(question),
            torch.log(reading_ms / 1000 + 1),
            torch.log(total + 10),
        ],
        dim=1,
    )
    there = torch.stack([turn > 0, question > 0, reading_ms >= 0, total > 0], dim=1)
    return values.masked_fill(~there, torch.nan)


def shares_of_rows(
    extracted: Mapping[str, Sequence[Any]], channels: Sequence[str]
) -> tuple[Any, Any]:
    """Return `log_share` and `recorded` of `LateShares` as arrays `[rows, 9]`.

    Args:
        extracted: What the feature extractor returns, one array a row.
        channels: Names of the channels of the trajectory.
    """
    shares, recorded = [], []
    head = EvidenceHead()
    for row, ticks in enumerate(extracted["trajectory"]):
        inputs = {
            "trajectory": torch.tensor(ticks),
            "trajectory_observed": torch.tensor(extracted["trajectory_observed"][row]),
            "trajectory_time_ms": torch.tensor(extracted["trajectory_time_ms"][row]),
            "trajectory_mask": torch.ones(len(ticks), dtype=torch.bool),
        }
        late = head.late_shares({n: v.unsqueeze(0) for n, v in inputs.items()}, list(channels))
        assert late is not None
        shares.append(late.log_share[0].numpy())
        recorded.append(late.recorded[0].numpy())
    return np.stack(shares), np.stack(recorded)
