"""What a card showed as Markdown: the targets, the eight shapes, TRL beside ours."""

from __future__ import annotations

from typing import Any

from measuring import Row, row
from model_memory import SHAPES

Cells = dict[str, dict[str, Any]]
FIRST = "qwen3-4b"
METHODS = ("qlora", "lora")
QLORA_GB = 16.0


def targets(here: dict[str, Any], cells: Cells) -> list[Row]:
    """Return the figures that have a target; met or not on a whole card alone, else None."""
    found = {key: cell["found"] for key, cell in cells.items() if cell.get("found")}
    judged = here["device"] == "cuda" and here["shrink"] == 1

    def best(name: str, of: list[str], pick: Any = max) -> tuple[float | None, str]:
        there = [(found[key][name], key) for key in of if name in found.get(key, {})]
        return pick(there) if there else (None, "not measured")

    epochs = [f"{FIRST} {method} ours pairs" for method in METHODS]
    seconds, epoch = best("epoch_s", epochs, min)
    pairs = found.get(epoch, {}).get("pairs", 1000)
    if seconds is not None:
        whole = seconds + found[epoch]["first_step_begins_s"]
        epoch += f"; {whole:.0f} s from a fresh Python"
    mfu, where = best(
        "mfu", [f"{FIRST} {method} ours {kind}" for method in METHODS for kind in
                ("steps", "pairs", "equal")]
    )  # fmt: skip
    rows = [
        row(f"{pairs:,} pairs of the 4B shape", seconds, "s", 90.0, epoch),
        row("MFU of the 4B shape", mfu and 100 * mfu, "%", 35.0, where, at_most=False),
    ]
    for method in METHODS:
        ours, _ = best("pairs_per_s", [f"{FIRST} {method} ours equal"])
        theirs, whose = best(
            "pairs_per_s", [f"{FIRST} {method} {side} equal" for side in ("trl", "trl-grouped")]
        )
        ratio = ours / theirs if ours and theirs else None
        rows.append(
            row(f"{_METHOD[method]}, times TRL at equal memory", ratio, "", 1.5, whose,
                at_most=False)
        )  # fmt: skip
    need = {name: _taken(found.get(f"{name} qlora ours steps", {})) for name in SHAPES}
    measured = {name: gigabytes for name, gigabytes in need.items() if gigabytes is not None}
    most = max(measured, key=lambda name: measured[name], default=None)
    note = f"{most}, the most of {len(measured)} of {len(SHAPES)} shapes"
    rows.append(
        row("QLoRA of every shape", measured[most] if most else None, "GB", QLORA_GB,
            note if most else "not measured")
    )  # fmt: skip
    if len(measured) < len(SHAPES) and rows[-1]["met"]:
        rows[-1]["met"] = None
    return [entry if judged else {**entry, "met": None} for entry in rows]


_METHOD = {"qlora": "QLoRA", "lora": "bf16 LoRA"}
_SIDE = {"ours": "ours", "trl": "TRL", "trl-grouped": "TRL, grouped by length"}
_REACHED = {True: "yes", False: "**no**", None: "not judged"}


def tables(here: dict[str, Any], cells: Cells) -> str:
    """Return Markdown: a line on the machine, then the tables, then what is missing."""
    parts = [_machine(here), _targets(here, cells), _shapes(cells), _against_trl(cells)]
    missing = [
        f"- {key}: {cell['status']}, {cell['why'].splitlines()[0]}"
        for key, cell in cells.items()
        if cell["status"] != "done"
    ]
    if missing:
        parts.append("Missing:\n\n" + "\n".join(missing))
    return "\n\n".join(parts) + "\n"


def _machine(here: dict[str, Any]) -> str:
    memory = f", {here['memory_gb']:.0f} GB" if here["memory_gb"] else ""
    size = "true shapes" if here["shrink"] == 1 else f"shapes and texts of 1/{here['shrink']}"
    versions = ", ".join(
        f"{name} {here['versions'][name]}"
        for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")
        if name in here["versions"]
    )
    return (
        f"{here['card']}{memory}; {size}, random weights; MFU of {here['peak_flops'] / 1e12:.3g} "
        f"TFLOPS ({here['peak_from']}; a product reaches {here['product_flops'] / 1e12:.3g}); "
        f"{versions}."
    )


def _targets(here: dict[str, Any], cells: Cells) -> str:
    lines = ["| target | | measured | reached |", "|---|---|---|---|"]
    for entry in targets(here, cells):
        sign = "<=" if entry["unit"] in ("s", "GB") else ">="
        value = "-" if entry["value"] is None else f"{entry['value']:.3g} {entry['unit']}".strip()
        lines.append(
            f"| {entry['name']} | {sign} {entry['target']:g} {entry['unit']} | {value} "
            f"({entry['note']}) | {_REACHED[entry['met']]} |"
        )
    return "\n".join(lines)


def _shapes(cells: Cells) -> str:
    heads = ("shape of", "weights", "pairs/s", "tokens/s", "MFU", "memory: tensors, GB",
             "memory: the process, GB", "first step ends, s", "launches a step")  # fmt: skip
    lines = ["QLoRA / bf16 LoRA, of the longest batch the memory:", "", _line(heads)]
    lines.append("|---" * len(heads) + "|")
    for name in SHAPES:
        both = [_found(cells, f"{name} {method} ours steps") for method in METHODS]
        if not any(both):
            continue
        weights = next(b["parameters"] for b in both if "parameters" in b) if any(
            "parameters" in b for b in both
        ) else None  # fmt: skip
        columns = [
            _each(both, "pairs_per_s", ".2f"),
            _each(both, "tokens_per_s", ".0f"),
            " / ".join(_figure(b.get("mfu") and 100 * b["mfu"], ".0f", " %") for b in both),
            _each(both, "longest_memory_gb", ".2f"),
            " / ".join(_figure(_taken(b), ".2f") for b in both),
            _each(both, "first_step_ends_s", ".1f"),
            _each(both, "launches", ",.0f"),
        ]
        size = _figure(weights and weights / 1e6, ",.1f", " M")
        lines.append(_line((name, size, *columns)))
    return "\n".join(lines)


def _against_trl(cells: Cells) -> str:
    heads = ("4B shape, equal memory", "", "adapter", "within, GB", "micro batch", "pairs/s", "MFU",
             "memory: tensors, GB", "first step ends, s", "launches a step",
             "times ours")  # fmt: skip
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for method in METHODS:
        ours = _found(cells, f"{FIRST} {method} ours equal").get("pairs_per_s")
        for side in ("ours", "trl", "trl-grouped"):
            found = _found(cells, f"{FIRST} {method} {side} equal")
            speed, mfu = found.get("pairs_per_s"), found.get("mfu")
            columns = (
                found.get("adapter_dtype", "-"),
                _figure(found.get("cap_gb"), ".3g"),
                _figure(found.get("micro_batch"), "d"),
                _figure(speed, ".2f"),
                _figure(mfu and 100 * mfu, ".0f", " %"),
                _figure(found.get("longest_memory_gb"), ".2f"),
                _figure(found.get("first_step_ends_s"), ".1f"),
                _figure(found.get("launches"), ",d"),
                _figure(ours and speed and ours / speed, ".2f"),
            )
            lines.append(_line((_METHOD[method], _SIDE[side], *columns)))
    return "\n".join(lines)


def _found(cells: Cells, key: str) -> dict[str, Any]:
    return cells.get(key, {}).get("found") or {}


def _taken(found: dict[str, Any]) -> float | None:
    """GB of the longest batch: what the process took from the card, where one is there."""
    if "longest_reserved_gb" not in found:
        return found.get("longest_memory_gb")
    return float(found["longest_reserved_gb"] + found["longest_context_gb"])


def _each(both: list[dict[str, Any]], name: str, form: str) -> str:
    return " / ".join(_figure(one.get(name), form) for one in both)


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _line(columns: tuple[str, ...]) -> str:
    return "| " + " | ".join(columns) + " |"
