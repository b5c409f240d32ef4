"""What the reward model refuses: inputs and weights that do not fit. Travels with a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .configuration_ifllm import IFLLMConfig
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
    vector = given.get("text_vector")
    if config.use_text and vector is not None:
        out["text_vector"], ids = vector, None
        out["text_mask"] = torch.ones(len(vector), 1, dtype=torch.bool, device=vector.device)
    elif config.use_text and ids is not None:
        out["input_ids"] = ids
        out["attention_mask"] = _mask(given, "attention_mask", ids.shape, ids)
        if config.use_token_behavior and values is not None:
            shape = (*ids.shape, len(config.token_channels))
            _shape("token_behavior", values, shape, "[batch, tokens, token_channels]")
            out["token_behavior"] = values
            out["token_behavior_mask"] = _mask(given, "token_behavior_mask", shape, values)
    if config.use_trajectory and ticks is not None:
        rows = len(next(iter(out.values()))) if out else len(ticks)
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
    if not out:
        used = [n for n in ("text", "trajectory") if getattr(config, f"use_{n}")]
        raise DataError(
            f"nothing to read: this model takes {' and '.join(used)}; expected "
            f"{' or '.join('input_ids' if n == 'text' else n for n in used)}"
        )
    if not torch.compiler.is_compiling():
        _check_values(config, out)
    return out


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
        for name in ("token_behavior", "trajectory", "trajectory_time_ms")
        if name in inputs
    }
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
        info: What `from_pretrained(output_loading_info=True)` returns.

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
            "were saved with; a new reward model starts with from_text_backbone"
        )
