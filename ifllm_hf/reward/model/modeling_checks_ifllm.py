"""What the reward model refuses: inputs and weights that do not fit. Travels with a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .configuration_ifllm import CONTEXT, LATE_COLUMNS, IFLLMConfig
from .data_error import DataError


def check_inputs(config: IFLLMConfig, **given: Tensor | None) -> dict[str, Tensor]:
    """Return the inputs that the config uses, with their defaults filled in and masks as bool.

    Args:
        config: Says which paths there are, and their channels.
        given: The tensors of `IFLLMModel.forward`.

    Raises:
        DataError: Nothing to read, or a tensor of the wrong shape or content; the message names
            the row and the field.
    """
    out: dict[str, Tensor] = {}
    ids, values, ticks = (given.get(k) for k in ("input_ids", "token_behavior", "trajectory"))
    embeds, vector = given.get("inputs_embeds"), given.get("text_vector")
    _refuse_lonely(config, given)
    if config.use_text and vector is not None:
        out["text_vector"] = vector
        out["text_mask"] = torch.ones(vector.shape[0], 1, dtype=torch.bool, device=vector.device)
    elif config.use_text and (text := embeds if ids is None else ids) is not None:
        out["inputs_embeds" if ids is None else "input_ids"] = text
        out["attention_mask"] = _mask(given, "attention_mask", text.shape[:2], text)
        if config.use_token_behavior and values is not None:
            shape = (*text.shape[:2], len(config.token_channels))
            _shape("token_behavior", values, shape, "[batch, tokens, token_channels]")
            out["token_behavior"] = values
            out["token_behavior_mask"] = _mask(given, "token_behavior_mask", shape, values)
        if (positions := given.get("position_ids")) is not None:
            _check_positions(positions, out["attention_mask"])
    reads_ticks = config.use_trajectory or config.evidence_head
    if reads_ticks and ticks is not None:
        rows = (next(iter(out.values())) if out else ticks).shape[0]
        time = given.get("trajectory_time_ms")
        if time is None:
            raise DataError("trajectory comes without trajectory_time_ms [batch, time]")
        length = ticks.shape[1] if ticks.dim() > 1 else 0
        shape = (rows, length, len(config.channels))
        _shape("trajectory", ticks, shape, "[batch, time, channels]")
        _shape("trajectory_time_ms", time, shape[:2], "[batch, time]")
        out["trajectory"], out["trajectory_time_ms"] = ticks, time
        out["trajectory_observed"] = _mask(given, "trajectory_observed", shape, ticks)
        out["trajectory_mask"] = _mask(given, "trajectory_mask", shape[:2], ticks)
    if config.evidence_head:
        out |= _evidence(given, out)
    if not out:
        used = {"text": "input_ids", "trajectory": "trajectory"}
        used = {n: field for n, field in used.items() if getattr(config, f"use_{n}")}
        if config.evidence_head:
            used |= {"trajectory": "trajectory", "context": "context"}
        raise DataError(
            f"nothing to read: this model takes {' and '.join(used)}; expected "
            f"{' or '.join(used.values())}"
        )
    if not torch.compiler.is_compiling():
        _check_values(config, out)
    return out


def _evidence(given: dict[str, Tensor | None], known: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what the evidence head reads beside the ticks."""
    out: dict[str, Tensor] = {}
    for name, columns in _EVIDENCE.items():
        tensor = given.get(name)
        if tensor is not None:
            rows = next(iter((known or {name: tensor}).values())).shape[0]
            _shape(name, tensor, (rows, len(columns)), f"[batch, {len(columns)}]")
            out[name] = tensor
            known = {**known, name: tensor}
    return out


_EVIDENCE = {"context": CONTEXT, "trajectory_history": LATE_COLUMNS}
_LONELY = {
    "attention_mask": ("input_ids", "inputs_embeds", "text_vector"),
    "position_ids": ("input_ids", "inputs_embeds"),
    "token_behavior": ("input_ids", "inputs_embeds", "text_vector"),
    "token_behavior_mask": ("token_behavior",),
    "trajectory_observed": ("trajectory",),
    "trajectory_time_ms": ("trajectory",),
    "trajectory_mask": ("trajectory",),
}
"""Inputs that say something of others, of which one must be there."""
_ONE_TEXT = ("input_ids", "inputs_embeds", "text_vector")


def _refuse_lonely(config: IFLLMConfig, given: dict[str, Tensor | None]) -> None:
    """Refuse what would be left aside: two texts, or a mask of what is not there."""
    if not config.use_text:
        return
    reads_ticks = config.use_trajectory or config.evidence_head
    there = {name for name, value in given.items() if value is not None}
    texts = [name for name in _ONE_TEXT if name in there]
    if len(texts) > 1:
        raise DataError(f"{' and '.join(texts)} are both given; expected one of them")
    for name, others in _LONELY.items():
        if name.startswith("trajectory") and not reads_ticks:
            continue
        if name in there and not there & set(others):
            raise DataError(f"{name} comes without {' or '.join(others[:2])}")


def _check_positions(positions: Tensor, mask: Tensor) -> None:
    """Refuse other positions than those that are counted here: 0, 1, ... over the valid tokens."""
    if torch.compiler.is_compiling():
        raise DataError("position_ids cannot be checked in compiled code; leave them out")
    counted = mask.long().cumsum(1) - 1
    if ((positions.to(mask.device) != counted) & mask).any():
        raise DataError(
            "position_ids are not 0, 1, ... over the tokens of a row, and other positions are not "
            "supported; leave them out"
        )


def refuse_unread(given: dict[str, Any]) -> None:
    """Refuse arguments that nothing here reads.

    `use_cache` is known and makes no difference: there is no cache. None is as good as not given.

    Raises:
        DataError: Names the argument.
    """
    for name, value in given.items():
        if name != "use_cache" and value is not None:
            instead = {"labels": "; targets are confidence (of pairs) and likert"}.get(name, "")
            raise DataError(f"{name} is not an input of this model{instead}; leave it out")


def _shape(name: str, tensor: Tensor, expected: tuple[int, ...], meaning: str) -> None:
    if tuple(tensor.shape) != tuple(expected):
        raise DataError(
            f"{name} has the shape {list(tensor.shape)}; expected {list(expected)} {meaning}. "
            "Check that it comes from the processor that was saved with this model"
        )


def _mask(
    given: dict[str, Tensor | None], name: str, shape: tuple[int, ...], like: Tensor
) -> Tensor:
    mask = given.get(name)
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=like.device)
    _shape(name, mask, tuple(shape), "as the values that it belongs to")
    return mask.bool()


def _check_values(config: IFLLMConfig, inputs: dict[str, Tensor]) -> None:
    """Refuse values that are not finite and time that runs backwards; one transfer if all is well.

    Compiled code skips this.
    """
    wrong = {
        name: ~torch.isfinite(inputs[name])
        for name in ("token_behavior", "trajectory", "trajectory_time_ms", *_EVIDENCE)
        if name in inputs
    }
    if "context" in wrong:
        wrong["context"] |= inputs["context"] < 0
    found = [bad.any() for bad in wrong.values()]
    backwards = None
    if "trajectory_time_ms" in inputs:
        mask = inputs["trajectory_mask"]
        # Padding in between carries the latest time on.
        time = inputs["trajectory_time_ms"].float().masked_fill(~mask, -torch.inf)
        backwards = mask & (time < time.cummax(dim=1).values)
        found.append(backwards.any())
    if not found or not bool(torch.stack(found).any()):
        return
    channels = {"token_behavior": config.token_channels, "trajectory": config.channels}
    for name, bad in wrong.items():
        if bad.any() and name in _EVIDENCE:
            row, at = bad.nonzero()[0].tolist()
            raise DataError(
                f"row {row}: {name}, {_EVIDENCE[name][at]!r} is {inputs[name][row, at].item()}; "
                "expected a finite number" + (", 0 (unknown) or more" if name == "context" else "")
            )
        if bad.any():
            row, at, *channel = bad.nonzero()[0].tolist()
            field = f"{name}, channel {channels[name][channel[0]]!r}" if channel else name
            raise DataError(
                f"row {row}: {field} is {inputs[name][(row, at, *channel)].item()} at position "
                f"{at}; expected a finite number (0 and a mask of 0 where nothing was observed)"
            )
    if backwards is not None:
        row, at = backwards.nonzero()[0].tolist()
        raise DataError(
            f"row {row}: trajectory_time_ms runs backwards at position {at}; sort the ticks by time"
        )


def refuse_misfit(name: str, info: dict[str, Any]) -> None:
    """Refuse weights that do not fill a model exactly.

    Args:
        name: Class of the model.
        info: What `from_pretrained(output_loading_info=True)` returns, less what was asked for.

    Raises:
        DataError: Keys are missing, left over or of another shape.
    """
    faults = []
    for key, words in (
        ("missing_keys", "are missing"),
        ("unexpected_keys", "have no place in it"),
        ("mismatched_keys", "have another shape"),
    ):
        found = sorted(str(k[0] if isinstance(k, tuple) else k) for k in info.get(key) or ())
        if found:
            faults.append(f"{len(found)} {words} ({', '.join(found[:3])})")
    if faults:
        raise DataError(
            f"the weights do not fit {name}: {'; '.join(faults)}. Load them with the config they "
            "were saved with. To train on from what is there, pass output_loading_info=True: that "
            "gives (model, info), and info names the weights that are random. A new reward model "
            "around a text model starts with IFLLMForRewardModeling.from_text_backbone"
        )
