"""The report: a table for the terminal, JSON, and a Markdown page with figures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.protocol.suite import Results
from ifllm_hf.errors import OutputError
from ifllm_hf.files import write_whole

# What the authors of the data report, on their own protocol; ours stands beside it.
PUBLISHED: tuple[Record, ...] = (
    {"model": "text only (published)", "protocol": "rows", "accuracy": 0.55},
    {"model": "text + behaviour (published)", "protocol": "rows", "accuracy": 0.64},
)
Draw = Callable[[Results, Sequence[Record], Path], Mapping[str, Path]]
"""Writes the figures of results and curves into a folder; returns them by caption."""

_Cell = Callable[[Record], str]
_Columns = tuple[tuple[str, _Cell], ...]


def shown_number(value: Any, digits: int = 3, sign: bool = False) -> str:
    """Return a number as it stands in tables: no leading zero, `-` where it is not defined."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def _between(record: Record, low: str, high: str, sign: bool = False) -> str:
    if record.get(low) is None or math.isnan(record[low]):
        return ""
    return f" [{shown_number(record[low], sign=sign)}, {shown_number(record[high], sign=sign)}]"


def _name(record: Record) -> str:
    marks = []
    if record.get("contaminated"):
        marks.append("saw the click")
    if record.get("file"):
        marks.append("from file")
    name = str(record["model"]).removesuffix(" (file)")
    return name + (f" ({', '.join(marks)})" if marks else "")


def shown_interval(record: Record, name: str, low: str, high: str, *, sign: bool = False) -> str:
    """Return a number with its interval; `-` where it is not there."""
    if name not in record:
        return "-"
    return shown_number(record[name], sign=sign) + _between(record, low, high, sign)


def _scored(name: str, low: str, high: str, sign: bool = False) -> _Cell:
    return lambda record: shown_interval(record, name, low, high, sign=sign)


def _repeats(record: Record) -> str:
    if record.get("repeat_mean") is None:
        return "-"
    sd = shown_number(record.get("repeat_sd"))
    return shown_number(record["repeat_mean"]) + ("" if sd == "-" else f" ± {sd}")


_PREFERENCE_COLUMNS: _Columns = (
    ("model", _name),
    ("accuracy [95 %]", _scored("accuracy", "low", "high")),
    ("single repeats", _repeats),
    ("AUC [95 %]", _scored("auc", "auc_low", "auc_high")),
    ("d length", _scored("d_length", "d_length_low", "d_length_high", sign=True)),
    ("d text", _scored("d_text", "d_text_low", "d_text_high", sign=True)),
    ("Brier", lambda r: shown_number(r.get("brier"))),
    (
        "ECE (perfect)",
        lambda r: f"{shown_number(r.get('ece'))} ({shown_number(r.get('ece_perfect'))})",
    ),
)
_RATING_COLUMNS: _Columns = (
    ("model", _name),
    ("MSE [95 %]", _scored("mse", "mse_low", "mse_high")),
    ("MSE of the mean", lambda r: shown_number(r.get("mse_mean"))),
    ("Pearson", _scored("pearson", "pearson_low", "pearson_high")),
    ("Spearman", _scored("spearman", "spearman_low", "spearman_high")),
)
_PROBE_COLUMNS: _Columns = (
    ("histogram of", lambda p: p["probe"] + (" (contaminated)" if p["contaminated"] else "")),
    ("learner", lambda p: p["learner"]),
    ("n", lambda p: str(p["n"])),
    ("AUC [95 %]", _scored("auc", "auc_low", "auc_high")),
    ("accuracy [95 %]", _scored("accuracy", "low", "high")),
    ("turns without ticks", lambda p: str(p["turns_without_ticks"])),
)
_CURVE_COLUMNS: _Columns = (
    ("curve", lambda c: c["curve"]),
    ("model", lambda c: c["model"]),
    ("x", lambda c: f"{c['x']:g}"),
    ("n", lambda c: str(c["n"])),
    ("workers", lambda c: str(c["workers"])),
    ("accuracy [95 %]", _scored("accuracy", "low", "high")),
    ("AUC [95 %]", _scored("auc", "auc_low", "auc_high")),
)


def _sections(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Group the records that share one table, in their order, under its title."""
    out: dict[str, list[Record]] = {}
    for record in records:
        part = "" if record["subset"] == "all" else f", {record['subset']}"
        title = (
            f"{record['task']}: {record['set']}{part}, protocol {record['protocol']} "
            f"(n = {record['n']}, {record['workers']} workers, "
            f"{record['conversations']} conversations)"
        )
        out.setdefault(title, []).append(record)
    return out


def _table(records: Sequence[Record]) -> list[list[str]]:
    columns = _PREFERENCE_COLUMNS if "accuracy" in records[0] else _RATING_COLUMNS
    table = _rows(columns, records)
    used = [i for i in range(len(columns)) if i == 0 or any(row[i] != "-" for row in table[1:])]
    return [[row[i] for i in used] for row in table]


def _rows(columns: _Columns, records: Sequence[Record]) -> list[list[str]]:
    return [[name for name, _ in columns], *([cell(r) for _, cell in columns] for r in records)]


def terminal_table(records: Sequence[Record]) -> str:
    """Return the records as aligned text, one table per set, protocol and subset."""
    blocks = []
    for title, members in _sections(records).items():
        table = _table(members)
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table]
        blocks.append("\n".join([title, *(f"  {line.rstrip()}" for line in lines)]))
    return "\n\n".join(blocks)


def finite(records: Sequence[Record]) -> list[Record]:
    """Return the records with None for what is not a finite number, as JSON wants it."""
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in r.items()}
        for r in records
    ]


def to_json(records: Sequence[Record]) -> str:
    """Return the records as a JSON list; what is not defined is null."""
    return json.dumps(finite(records), indent=1, ensure_ascii=False, allow_nan=False)


def markdown_table(records: Sequence[Record]) -> str:
    """Return one Markdown table; the records must belong to one set, protocol and subset."""
    return _markdown(_table(records))


def write_report(
    results: Results,
    folder: Path | str,
    *,
    command: str,
    curves: Sequence[Record] = (),
    extrapolation: Sequence[Record] = (),
    probes: Sequence[Record] = (),
    notes: Sequence[str] = (),
    draw: Draw | None = None,
    overwrite: bool = False,
) -> Path:
    """Write `report.md`, `report.json` and the figures into a folder.

    Args:
        results: What `run_suite` returned.
        folder: Folder to write; it is made.
        command: The command that made the numbers.
        curves: Records of `ifllm_hf.benchmark.studies.curves`.
        extrapolation: Output of `extrapolate`.
        probes: Records of `run_probes`.
        notes: Paragraphs to add at the end.
        draw: Draws the figures: `ifllm_hf.plot.benchmark_report.draw_report`; none by default.
        overwrite: Whether an existing report may be replaced.

    Returns:
        Path of the Markdown page.

    Raises:
        OutputError: A report stands there already, or the folder cannot be written.
    """
    folder = Path(folder)
    page = folder / "report.md"
    check_report_place(page, overwrite=overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = {} if draw is None else draw(results, curves, folder)
    except OSError as error:
        raise OutputError(f"{folder}: the report cannot be written ({error})") from error
    write_whole(folder / "report.json", to_json([*results.records, *probes, *curves]) + "\n")
    write_whole(page, _page(results, command, made, curves, extrapolation, probes, notes))
    return page


def check_report_place(page: Path, *, overwrite: bool) -> None:
    """Refuse a place that a report must not take; call it before long work.

    Raises:
        OutputError: There is a report already, or the folder is a file.
    """
    if page.exists() and not overwrite:
        raise OutputError(f"{page} exists; name another folder, or allow overwriting (--overwrite)")
    if page.parent.exists() and not page.parent.is_dir():
        raise OutputError(f"{page.parent}: is a file; expected a folder for the report. Name one.")


def _page(
    results: Results,
    command: str,
    made: Mapping[str, Path],
    curves: Sequence[Record],
    extrapolation: Sequence[Record],
    probes: Sequence[Record],
    notes: Sequence[str],
) -> str:
    parts = [
        "# Benchmark report",
        f"Made by `{command}`. Intervals: 95 %, bootstrap over workers. `d length` and `d text`: "
        "paired differences in accuracy against the length rule and the text-only model. "
        "`single repeats`: mean ± SD over repeats; the other columns score predictions averaged "
        "over repeats. `majority` knows the base rate of the set.",
        "Published by the authors of the data, for the protocol `rows`: "
        + ", ".join(f"{r['model']} {shown_number(r['accuracy'], 2)}" for r in PUBLISHED)
        + ".",
    ]
    for set_name, ledger in results.ledgers.items():
        dropped = ", ".join(f"{n} {why}" for why, n in ledger["dropped"].items()) or "none"
        parts.append(
            f"Rows of *{set_name}*: {ledger['kept']} of {ledger['seen']} turns "
            f"(left out: {dropped})."
        )
    for title, members in _sections(results.records).items():
        parts += [f"## {title[0].upper()}{title[1:]}", markdown_table(members)]
    if probes:
        parts += ["## Did the pointer see the click?", _markdown(_rows(_PROBE_COLUMNS, probes))]
    if curves:
        parts += ["## Curves", _markdown(_rows(_CURVE_COLUMNS, curves))]
    if extrapolation:
        ahead = "; ".join(
            f"{r['workers']} workers {shown_number(r['low'])}-{shown_number(r['high'])}"
            for r in extrapolation
        )
        parts.append(
            "Continued by a - b n^-c for c of 1/4, 1/2 and 1 (a range, not an interval: "
            f"the points do not identify c): {ahead}."
        )
    parts += [f"![{caption}]({path.name})" for caption, path in made.items()]
    parts += list(notes)
    return "\n\n".join(parts) + "\n"


def _markdown(table: Sequence[Sequence[str]]) -> str:
    return markdown_rows(table[0], table[1:])


def markdown_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    lines.insert(1, "|" + "---|" * len(header))
    return "\n".join(lines)
