"""What the columns of each config mean, in words; names and types come from `data.schema`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import yaml

from ifllm_hf.data.schema import ENUMERATIONS, SCHEMAS, TURN_TICK_COLUMNS

_WORDS = Path(__file__).parent / "templates" / "column_meanings.yaml"
MEANINGS: dict[str, str] = yaml.safe_load(_WORDS.read_text(encoding="utf-8"))
"""Meaning and unit by column. A column means the same in every config that has it."""

_TYPE_NAMES = {
    "string": "text",
    "bool": "yes/no",
    "timestamp[us, tz=UTC]": "time, UTC",
    "double": "float64",
    "float": "float32",
}


def column_table(fields: Iterable[pa.Field]) -> str:
    """Return a Markdown table of columns with their types and meanings; of ticks, one tick's type.

    Raises:
        KeyError: A column has no meaning here yet.
    """
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for field in fields:
        meaning = MEANINGS[field.name]
        if field.name in ENUMERATIONS:
            meaning += "; one of " + ", ".join(f"`{value}`" for value in ENUMERATIONS[field.name])
        lines.append(f"| `{field.name}` | {_type_name(field.type)} | {meaning} |")
    return "\n".join(lines)


def column_tables() -> dict[str, str]:
    """Return the tables of the card by the template's names for them.

    `turn_columns` are the scalars of `pairwise` and `pointwise`, `tick_columns` the lists that
    they share with `ticks`, `more_tick_columns` the lists that only `ticks` has.
    """
    of_ticks = [f for f in SCHEMAS["ticks"] if pa.types.is_list(f.type)]
    tables = {
        "turn_columns": [f for f in SCHEMAS["pairwise"] if f.name not in TURN_TICK_COLUMNS],
        "tick_columns": [f for f in of_ticks if f.name in TURN_TICK_COLUMNS],
        "more_tick_columns": [f for f in of_ticks if f.name not in TURN_TICK_COLUMNS],
        **{f"{config}_columns": SCHEMAS[config] for config in ("preferences", "tasks", "workers")},
    }
    return {name: column_table(fields) for name, fields in tables.items()}


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        if pa.types.is_struct(kind.value_type):
            return "list of messages"
        kind = kind.value_type
    return _TYPE_NAMES.get(str(kind), str(kind))
