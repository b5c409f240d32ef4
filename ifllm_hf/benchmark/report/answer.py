"""What people come for, first: does behaviour tell more than the length of an answer?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.report.report import shown_interval, terminal_table
from ifllm_hf.reward.baselines.choice import TEXT_MODEL, default_model
from ifllm_hf.reward.baselines.length_rule import LengthRule

PROTOCOL = "worker"
SUBSETS = {"all": "all pairs", "similar length": "similar lengths"}
NAMES = {
    "text alone": TEXT_MODEL,
    "length alone": LengthRule.name,
    "length with behaviour": default_model().name,
}
"""What a line of the answer is called -> its model."""
MORE = (
    "--all prints every protocol, set and task with the notes; --out FOLDER writes the report and "
    "its figures."
)


def answer(records: Sequence[Record], repeats: int, names: Mapping[str, str] = NAMES) -> str:
    """Return the answer in four lines, what they rest on, and the table behind them.

    Args:
        records: Scores of one set.
        repeats: How often the folds were drawn.
        names: What a line is called -> its model; the gain is that of the last one.
    """
    rows = answer_rows(records, names)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    return "\n".join([*lines, answer_note(records, repeats)])


def answer_rows(records: Sequence[Record], names: Mapping[str, str] = NAMES) -> list[list[str]]:
    """Return the lines of the answer: what each is called, then what it says of each subset.

    Args:
        records: Scores of one set.
        names: What a line is called -> its model; the gain is that of the last one.
    """
    found = _found(records)
    subsets = _subsets(found)
    rows = [
        [title, *_cells(found, model, subsets, "accuracy", "low", "high")]
        for title, model in names.items()
        if any(name == model for name, _ in found)
    ]
    last = list(names.values())[-1]
    gain = _cells(found, last, subsets, "d_length", "d_length_low", "d_length_high", sign=True)
    return [*rows, ["gain over length", *gain]]


def answer_note(records: Sequence[Record], repeats: int) -> str:
    """Return what the lines of the answer rest on, in a sentence."""
    found = _found(records)
    sizes = {s: next(r for (_, t), r in found.items() if t == s) for s in _subsets(found)}
    said = "; ".join(
        f"{SUBSETS[s]}: n = {r['n']} of {r['workers']} readers" for s, r in sizes.items()
    )
    return (
        f"Accuracy of preferences, held out by reader (no reader on both sides), {repeats} "
        f"{'repeat' if repeats == 1 else 'repeats averaged'}; in brackets 95 % over readers, of "
        f"the gain for the paired difference; {said}."
    )


def first_table(records: Sequence[Record]) -> str:
    """Return the table of readers held out, and those with predictions from a file."""
    whole = [r for r in records if r["subset"] == "all"]
    told = {(r["set"], r["protocol"]) for r in whole if r.get("file")}
    return terminal_table(
        [r for r in whole if r["protocol"] == PROTOCOL or (r["set"], r["protocol"]) in told]
    )


def _found(records: Sequence[Record]) -> dict[tuple[str, str], Record]:
    return {
        (r["model"], r["subset"]): r
        for r in records
        if r["protocol"] == PROTOCOL and r["subset"] in SUBSETS and not r.get("file")
    }


def _subsets(found: Mapping[tuple[str, str], Record]) -> list[str]:
    return [s for s in SUBSETS if any(subset == s for _, subset in found)]


def _cells(
    found: Mapping[tuple[str, str], Record],
    model: str,
    subsets: Sequence[str],
    *columns: str,
    sign: bool = False,
) -> list[str]:
    """Return what one line says of each subset; `-` where it is not known."""
    return [
        f"{SUBSETS[s]} "
        + (shown_interval(found[model, s], *columns, sign=sign) if (model, s) in found else "-")
        for s in subsets
    ]
