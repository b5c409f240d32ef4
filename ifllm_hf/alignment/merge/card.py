"""The card of merged weights: from the record of the merge, and that of the run, alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.policy.run_card import what_was_done
from ifllm_hf.card_template import fill
from ifllm_hf.training.tiny_models import TINY_PREFIX

_TEMPLATE = Path(__file__).parent / "merge_card.md"
FAR = 0.1
"""From this share of what training moved on, merging is said to have changed the model."""


def merge_card(merge: Mapping[str, Any], run: Mapping[str, Any] | None) -> str:
    """Return the card of merged weights.

    Args:
        merge: The content of `merge.json`.
        run: The record of the run that trained the adapter, if it is one of ours.
    """
    base, kl = merge["base_model"], merge["kl"]
    made_up = base.startswith(TINY_PREFIX)
    in_4bit = merge["trained_on"]["in_4bit"]
    values: dict[str, Any] = {
        **{name: merge[name] for name in ("dtype", "prompt", "eos")},
        "base_model_yaml": "[]" if made_up else base,
        "name": merge["adapter"],
        "base_name": base,
        "made_up": "" if made_up else None,
        "trained_on": merge["trained_on"]["words"],
        "was_4bit": "" if in_4bit else None,
        "was_16bit": None if in_4bit else "",
        **{name: None for name in ("served", "moved", "prompts", "tokens", "source", "answers")},
        "far": None,
        "unmeasured": "" if kl is None else None,
        "own_template": "" if merge["writes_chat_template"] else None,
        "done": None if run is None else what_was_done(run),
        "versions": ", ".join(f"{name} {number}" for name, number in merge["versions"].items()),
        "has_run": None if run is None else "",
        "has_no_run": "" if run is None else None,
    }
    if kl is not None:
        values |= {
            "served": f"{kl['trained_served']:.2g}",
            "moved": f"{kl['trained_base']:.2g}",
            "far": "" if is_far(kl) else None,
            **{name: kl[name] for name in ("prompts", "tokens", "source", "answers")},
        }
    return fill(_TEMPLATE.read_text(encoding="utf-8"), values)


def is_far(kl: Mapping[str, Any]) -> bool:
    """Tell whether merging moved the model by a sizable share of what training did."""
    return not kl["trained_served"] <= FAR * kl["trained_base"]  # nor is NaN near
