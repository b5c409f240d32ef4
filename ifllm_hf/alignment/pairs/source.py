"""The one door for preference pairs: whatever the layout, TRL's explicit form or a refusal.

What a row of each layout becomes is in docs/preference-data.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.pairs.layout import (
    LAYOUT_COLUMNS,
    SIDES,
    explicit_pair,
    explicit_prompt,
    has_prompt,
)
from ifllm_hf.alignment.pairs.messages import RowError, read_messages, text_of
from ifllm_hf.alignment.pairs.opening import open_dataset
from ifllm_hf.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset

Row = dict[str, Any]
_HISTORY = "history_chosen"


def open_pairs(
    dataset: str,
    config: str | None = None,
    split: str = "train",
    *,
    name: str | None = None,
    columns: Collection[str] = (),
) -> list[Row]:
    """Open preference pairs, and refuse those that no loss can learn from.

    Args:
        dataset: See `open_dataset`.
        config: Config of the dataset; for `ifllm` the default is `preferences`.
        split: Split to read.
        name: What to call it in messages; default: `dataset`.
        columns: Further columns to keep where they are there.

    Returns:
        A row for each pair, in order: `prompt`, `chosen`, `rejected` and `has_template` of
        `explicit_pair`, `confidence` (1.0 where there is none), and of `columns` what is there.

    Raises:
        SourceError: Nothing can be read there.
        ConfigError: There is no such split or config.
        DataError: No rows, a missing column, a row that is no pair, an empty side, both sides
            equal, or a confidence that is no probability of at least one half. The message names
            the first row.
    """
    return read_pairs(open_dataset(dataset, config, split), name or dataset, columns)


def read_pairs(dataset: Dataset, name: str, columns: Collection[str] = ()) -> list[Row]:
    """Read the pairs of a dataset that is open; see `open_pairs`."""
    table = rows_of(dataset, name, {"confidence", *columns})
    missing = [side for side in SIDES if side not in table.column_names]
    if missing:
        raise DataError(
            f"{name}: no column {', '.join(missing)}; it has {', '.join(table.all_columns)}; "
            "expected the question in a column prompt, the better answer in chosen and the worse "
            "in rejected: rename or map what holds them"
        )
    rows = table.read(explicit_pair)
    for side in ("prompt", *SIDES):
        texts = [text_of(row[side]) for row in rows]
        refuse_rows(
            name,
            f"'{side}' is empty",
            [i for i, text in enumerate(texts) if not text.strip()],
            texts,
            "each pair needs a prompt and two answers; remove those rows",
        )
    chosen = [text_of(row["chosen"]) for row in rows]
    refuse_rows(
        name,
        "'chosen' equals 'rejected'",
        [i for i, row in enumerate(rows) if chosen[i] == text_of(row["rejected"])],
        chosen,
        "a tie teaches nothing; remove those rows",
    )
    repeating = [i for i, row in enumerate(rows) if _answers_repeat_prompt(row)]
    if len(repeating) == len(rows):
        refuse_rows(
            name,
            "both answers begin with the whole 'prompt'",
            repeating,
            chosen,
            "expected answers alone; drop the column prompt, or cut it off the answers",
        )
    add_confidence(
        rows,
        name,
        "it is the probability that 'chosen' is better: swap the answers where it is below one "
        "half, rescale it, or drop the column",
    )
    return rows


def open_prompts(
    dataset: str,
    config: str | None = None,
    split: str = "train",
    *,
    name: str | None = None,
    columns: Collection[str] = (),
) -> list[Row]:
    """Open the questions of a dataset, with or without answers.

    Args:
        dataset: See `open_dataset`.
        config: Config of the dataset.
        split: Split to read.
        name: What to call it in messages; default: `dataset`.
        columns: Further columns to keep where they are there.

    Returns:
        `prompt`, `has_template`, and of `columns` what is there, of each row in order.

    Raises:
        SourceError: Nothing can be read there.
        ConfigError: There is no such split or config, or no column holds the questions.
        DataError: No rows, or a row whose prompt cannot be read.
    """
    name = name or dataset
    table = rows_of(open_dataset(dataset, config, split), name, columns)
    if all(side in table.column_names for side in SIDES):
        return [
            {key: value for key, value in row.items() if key not in SIDES}
            for row in table.read(explicit_pair)
        ]
    if not has_prompt(table.column_names):
        raise ConfigError(
            f"{name}: no column 'prompt', which judging needs; it has "
            f"{', '.join(table.all_columns)}; rename or map the one that holds the questions"
        )

    def question(row: Mapping[str, Any]) -> Row:
        prompt, has_template = explicit_prompt(row)
        return {"prompt": prompt, "has_template": has_template}

    return table.read(question)


class _Opened:
    """The columns of a dataset that are needed, and how its rows are read or refused."""

    def __init__(self, dataset: Dataset, name: str, kept: Collection[str]) -> None:
        self.name, self.all_columns = name, list(dataset.column_names)
        wanted = [c for c in self.all_columns if c in kept or c in LAYOUT_COLUMNS]
        self.kept = [c for c in wanted if c in kept and c not in LAYOUT_COLUMNS]
        self.column_names = wanted
        self._dataset = dataset.select_columns(wanted)

    def read(self, read_row: Callable[[Row], Row]) -> list[Row]:
        """Read all rows; the first that is refused, and how many like it, is the message."""
        rows: list[Row] = []
        refused: dict[str, list[tuple[int, RowError]]] = {}
        try:
            stored = self._dataset.with_format(None).to_list()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.name}: a text is not UTF-8 ({error}); write the file anew as UTF-8"
            ) from error
        for i, row in enumerate(stored):
            try:
                read = read_row(row)
                read |= {column: row[column] for column in self.kept}
                if read.get(_HISTORY):
                    read[_HISTORY] = read_messages(read[_HISTORY], _HISTORY)
                rows.append(read)
            except RowError as error:
                refused.setdefault(error.what, []).append((i, error))
        for what, found in refused.items():
            values = {i: error.seen for i, error in found}
            refuse_rows(
                self.name, what, list(values), values, found[0][1].expected, len(self._dataset)
            )
        return rows


def rows_of(dataset: Dataset, name: str, kept: Collection[str]) -> _Opened:
    """Return the table of a dataset that is open, with the columns that are read.

    Args:
        dataset: One split.
        name: What to call it in messages.
        kept: Columns to keep where they are there, beside those of the layout.

    Raises:
        DataError: It has no rows.
    """
    if not len(dataset):
        raise DataError(f"{name}: 0 pairs; expected at least one; check how the file was written")
    return _Opened(dataset, name, kept)


def _answers_repeat_prompt(row: Row) -> bool:
    prompt = row["prompt"]
    return isinstance(prompt, str) and all(row[side].startswith(prompt) for side in SIDES)


def add_confidence(rows: Sequence[Row], name: str, todo: str) -> None:
    """Make `confidence` of each row a number, 1.0 where there is no such column.

    Args:
        rows: As read.
        name: What to call them in messages.
        todo: What it is, and what to do where it is none, for the message.

    Raises:
        DataError: It is no probability of at least one half.
    """
    if "confidence" not in rows[0]:
        for row in rows:
            row["confidence"] = 1.0
        return
    # What is no number is refused below, as it was written.
    given = [row["confidence"] for row in rows]
    confidence = [float(c) if isinstance(c, int | float) else math.nan for c in given]
    refuse_rows(
        name,
        "'confidence' is missing, no number or outside [0.5, 1]",
        [i for i, c in enumerate(confidence) if not 0.5 <= c <= 1],
        given,
        todo,
    )
    for row, c in zip(rows, confidence, strict=True):
        row["confidence"] = c


def require_columns(rows: Sequence[Row], name: str, needed: Mapping[str, str | bool]) -> None:
    """Refuse rows without a column that a setting needs.

    Args:
        rows: What `open_pairs` or `open_prompts` returned.
        name: What to call it in messages.
        needed: By column, the setting that needs it; False where it is not set.

    Raises:
        ConfigError: A column is not there.
    """
    for column, setting in needed.items():
        if setting and column not in rows[0]:
            raise ConfigError(
                f"{name}: no column '{column}', which {setting} needs; add it, or change the "
                "setting"
            )


def refuse_rows(
    name: str,
    what: str,
    rows: Sequence[int],
    values: Sequence[Any] | Mapping[int, Any],
    todo: str,
    of: int | None = None,
) -> None:
    """Refuse rows where there are any; the first of them is the message.

    Args:
        name: What to call the dataset in messages.
        what: What is wrong, with the column in quotes.
        rows: The numbers of those rows, from 0.
        values: What they hold, by number.
        todo: What to do.
        of: How many rows there are; default: as many as values.

    Raises:
        DataError: There are some.
    """
    if rows:
        seen = str(values[rows[0]])
        seen = seen if len(seen) <= 60 else f"{seen[:57]}..."
        raise DataError(
            f"{name}: {what} in {len(rows)} of {of or len(values)} rows; first at row {rows[0]}, "
            f"counted from 0 ({seen!r}); {todo}"
        )
