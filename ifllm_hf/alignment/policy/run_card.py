"""The card of an SFT, DPO or KTO run: from its record alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ifllm_hf.card_template import fill
from ifllm_hf.training.tiny_models import TINY_PREFIX

_TEMPLATE = Path(__file__).parent / "run_card.md"
_DONE = Path(__file__).parent / "run_done.md"


def card(record: dict[str, Any]) -> str:
    """Return the model card of a run, from its record alone.

    It states what was done and claims no quality: that is measured by judging, not by training.
    """
    base = record["used"]["base_model"]
    made_up = base.startswith(TINY_PREFIX)
    values = {
        "base_model_yaml": "[]" if made_up else base,
        "library": "transformers" if record["settings"]["method"] == "full" else "peft",
        "stage": record["stage"],
        "stage_title": record["stage"].upper(),
        "model": base.split("/")[-1],
        "dataset": record["data"]["dataset"],
        "made_up": "" if made_up else None,
        "done": what_was_done(record),
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
    }
    return fill(_TEMPLATE.read_text(encoding="utf-8"), values)


def what_was_done(record: Mapping[str, Any]) -> str:
    """Return what a card says of a run: weights, loss, prompts and pairs."""
    settings, data, used = record["settings"], record["data"], record["used"]
    fold = f" (fold {settings['eval_fold']})" if data["held_out"] else ""
    dropped = data["ledger"]["dropped"].items()
    history = None if settings["history"] == "none" else settings["history"]
    own_past = record["stage"] == "kto"  # there each answer is read on its own
    rows = data.get("rows", "pairs")
    values = {
        **{name: used[name] for name in ("weights", "loss", "prompt")},
        **{name: data[name] for name in ("train", "cut", "fingerprint")},
        **{name: settings[name] for name in ("suffix", "seed")},
        "reference": used.get("reference"),
        "reference_setting": settings.get("reference"),
        "no_history": "" if history is None else None,
        "history": None if own_past else history,
        "own_past": history if own_past else None,
        "kinds": used.get("kinds"),
        "rows": rows.capitalize(),
        "cut_rows": rows,
        "seen": data["ledger"]["seen"],
        "held_out": f"{data['held_out']} held out{fold}",
        "dropped": ", ".join(f"{n} {reason}" for reason, n in dropped) or "none",
        "max_length": str(settings["max_length"]),
        "labeller_saw": data["labeller_saw"] or None,
    }
    return fill(_DONE.read_text(encoding="utf-8"), values).rstrip("\n")
