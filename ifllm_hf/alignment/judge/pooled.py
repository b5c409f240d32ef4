"""Label sources compared over several language models, from their judging reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.judge import statistics
from ifllm_hf.alignment.judge.report import Record, has_scores, plain, ratio_lines, ratios, shown
from ifllm_hf.alignment.judge.statistics import Items
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet, write_parquet

REPORT, ITEMS = "report.json", "items.parquet"
_NAMES = tuple(Items.__dataclass_fields__)


def write_items(found: Mapping[str, Items], folder: Path) -> None:
    """Write the averaged verdicts of every question and candidate, for statistics of one's own."""
    tables = [
        pl.DataFrame({"model": [name] * len(items), **{k: getattr(items, k) for k in _NAMES}})
        for name, items in found.items()
        if len(items)
    ]
    write_parquet(folder / ITEMS, pl.concat(tables))


def read_items(folder: Path) -> dict[str, Items]:
    """Read what `write_items` wrote.

    Raises:
        DataError: There is no finished report.
    """
    if not (folder / ITEMS).exists():
        raise DataError(f"{folder}: no {ITEMS}; expected the output of a judging run")
    table = read_parquet(folder / ITEMS)
    found = {}
    for (name,), part in table.group_by("model", maintain_order=True):
        columns: dict[str, Any] = {k: part[k].to_numpy() for k in _NAMES}
        found[str(name)] = Items(**columns)
    return found


def pool(
    folders: Mapping[str, Path], reference: str | None = None, *, draws: int = 2000, seed: int = 0
) -> Record:
    """Compare the candidates that several judging runs have in common.

    The relative improvement of a candidate is the mean over language models of each one's own. A
    reader is drawn with their questions to all models: models are not independent evidence.

    Args:
        folders: Output folder of the judging run of each language model.
        reference: The candidate that others are divided by; None: the first.
        draws: Bootstrap draws.
        seed: Of the bootstrap.

    Raises:
        DataError: The runs had different judges, or have no candidate in common.
    """
    reports = {m: json.loads((Path(f) / REPORT).read_text()) for m, f in folders.items()}
    protocols = {r["judge"]["protocol"] for r in reports.values()}
    if len(protocols) > 1:
        raise DataError(
            f"{len(protocols)} judges: {'; '.join(sorted(protocols))}. Scores of different judges "
            "cannot be averaged; pool the runs of one judge"
        )
    items = {m: read_items(Path(f)) for m, f in folders.items()}
    first = next(iter(items.values()))
    common = [name for name in first if all(name in of for of in items.values())]
    if not common:
        raise DataError(f"{', '.join(folders)}: no candidate in common; nothing can be pooled")
    parts = {name: [of[name] for of in items.values()] for name in common}
    reward = any(r["judge"]["kind"] == "reward" for r in reports.values())
    candidates: Record = {}
    for name, of in parts.items():
        readers = np.concatenate([part.user_id for part in of])
        wins = np.concatenate([part.win for part in of])
        candidates[name] = {
            "n": len(wins),
            "workers": len(set(readers.tolist())),
            "win_rate": plain(statistics.mean_over_workers(wins, readers, draws=draws, seed=seed)),
            "relative_improvement": None
            if reward or not has_scores(of)
            else plain(statistics.relative_improvement(of, draws=draws, seed=seed)),
        }
    divisor = reference if reference in common else common[0]
    return {
        "models": list(folders),
        "protocol": protocols.pop(),
        "candidates": candidates,
        "ratios": [] if reward else ratios(parts, divisor, draws=draws, seed=seed),
        "draws": draws,
    }


def pooled_markdown(found: Record) -> str:
    """Write what `pool` found, for people."""
    lines = [
        f"# Label sources over {len(found['models'])} language models",
        "",
        f"Models: {', '.join(found['models'])}.",
        "",
        f"Judge: {found['protocol']}.",
        "",
        "Relative improvement: the mean over models of (score after - score before) / score "
        f"before. Intervals: 95 %, bootstrap over readers, {found['draws']} draws.",
        "",
        "| candidate | n | readers | win rate (ties half) | relative improvement |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {r['n']} | {r['workers']} | {shown(r['win_rate'])} | "
            f"{shown(r['relative_improvement'], '+.1%')} |"
            for name, r in found["candidates"].items()
        ),
        *ratio_lines(found["ratios"]),
        "",
    ]
    return "\n".join(lines)
