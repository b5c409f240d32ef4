"""The card of a reward model: from what its folder says about it, and from nothing else.

A run of DPO or SFT writes its own: `alignment.policy.run_card`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.card_template import fill
from ifllm_hf.data.synthetic.story import SYNTHETIC_PREFIX
from ifllm_hf.errors import TableError
from ifllm_hf.files import digest
from ifllm_hf.hub.cards.eval_results import held_out_score, held_out_words
from ifllm_hf.training.run_record import public_name, read_run
from ifllm_hf.training.withdrawn_readers import READERS_KEY

BENCHMARK_FILE = "benchmark.json"
"""What `ifllm benchmark --json` printed for the model; optional."""

_TEMPLATE = Path(__file__).parent / "templates" / "model_card.md"
_SUBSETS = ("all", "similar length")
_NEEDED = ("model", "set", "subset", "protocol", "n", "workers", "accuracy", "low", "high")


def model_card(folder: Path, repo_id: str, config: Mapping[str, Any]) -> str:
    """Return the card of a saved model.

    Args:
        folder: May hold `run.json` (how it was trained) and `benchmark.json` (how it scored).
        repo_id: Where it will be.
        config: Its `config.json`.

    Raises:
        TableError: `benchmark.json` is not what `ifllm benchmark --json` prints.
    """
    run = read_run(folder) or {}
    data: Mapping[str, Any] = run.get("data", {})
    sessions: Sequence[str] | None = data.get("sessions")
    readers: Sequence[str] = data.get("readers", [])
    base = public_name(_base_model(run, config))
    listed = "".join(f"  - {reader}\n" for reader in readers)
    table = _benchmark(folder / BENCHMARK_FILE)
    score = held_out_score(run)
    text = config["text_config"].get("model_type") if config.get("use_text", True) else None
    values = {
        "title": repo_id.split("/")[-1],
        "repo_id": repo_id,
        "base_model_yaml": f"base_model: {base}\n" if base and "/" in base else "",
        "readers_yaml": f"{READERS_KEY}:\n{listed}" if readers else "",
        "backbone": f"{base or 'trained from scratch'} ({text})" if text else "not read",
        "token_channels": _names(config, "use_token_behavior", "token_channels"),
        "channels": _names(config, "use_trajectory", "channels"),
        "benchmark": table,
        "has_benchmark": "" if table else None,
        "held_out": None if score is None else score["accuracy"],
        "held_out_words": held_out_words(run),
        "no_benchmark": None if table or score else "",
        **{key: data.get(key) for key in ("pairs", "workers", "conversations", "fingerprint")},
        "singles": data.get("singles") or None,
        "dataset": public_name(data.get("dataset")),
        "sessions": None if sessions is None else len(sessions),
        "sessions_digest": None if sessions is None else digest("\n".join(sorted(sessions)), 16),
        "made_up": "" if any(r.startswith(SYNTHETIC_PREFIX) for r in readers) else None,
        "seed": run.get("seed"),
        "no_run": None if run else "",
        "versions": ", ".join(f"{k} {v}" for k, v in run.get("versions", {}).items()) or None,
    }
    return fill(_TEMPLATE.read_text(encoding="utf-8"), values)


def _base_model(run: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    used = run.get("used", {}).get("base_model") or run.get("settings", {}).get("base_model")
    return used or config["text_config"].get("_name_or_path") or None


def _names(config: Mapping[str, Any], switch: str, names: str) -> str:
    return ", ".join(f"`{n}`" for n in config[names]) if config.get(switch, True) else "not read"


def _benchmark(file: Path) -> str | None:
    """Return the tables of the preference scores, each under its protocol, n and readers."""
    from ifllm_hf.benchmark.report.report import markdown_table

    if not file.exists():
        return None
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
        scores = [r for r in records if r.get("subset") in _SUBSETS and "accuracy" in r]
        tables: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for record in scores:
            lacking = [name for name in _NEEDED if name not in record]
            if lacking:
                raise TableError(f"{file}: a score has no {', '.join(lacking)}")
            key = tuple(record[name] for name in ("set", "subset", "protocol", "n", "workers"))
            tables.setdefault(key, []).append(record)
    except (ValueError, AttributeError, TypeError) as error:
        raise TableError(
            f"{file}: {error}. Expected the list that `ifllm benchmark --json` prints."
        ) from error
    if not tables:
        return None
    return "\n\n".join(
        f"**{of}{'' if subset == 'all' else f', {subset}'}, protocol `{protocol}`** "
        f"(n = {n}, {workers} readers)\n\n" + markdown_table(members)
        for (of, subset, protocol, n, workers), members in tables.items()
    )
