"""Single answers and whether they were wanted: unpaired data, or preference pairs taken apart.

What a row of each layout becomes is in docs/kto.md.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.kto.answer_weights import check_both_kinds
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import PreferencePairs, columns_read, split_rows
from ifllm_hf.alignment.pairs.layout import SIDES, explicit_answer, has_prompt
from ifllm_hf.alignment.pairs.messages import RowError, read_messages
from ifllm_hf.alignment.pairs.opening import open_dataset
from ifllm_hf.alignment.pairs.source import (
    Row,
    add_confidence,
    read_pairs,
    refuse_rows,
    require_columns,
    rows_of,
)
from ifllm_hf.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

_PAST, _OWN_PAST = "history_chosen", "history"
_EXPECTED = (
    "expected prompt, completion and label (true: wanted; `ifllm label --unpaired` writes them), "
    "or pairs with prompt, chosen and rejected"
)


def load_answers(config: PairDataConfig, name: str | None = None) -> PreferencePairs:
    """Open, check, format and split the answers of a run.

    Of a pair the chosen answer is wanted and the rejected one is not; with `history: chosen` each
    answer stands in the past of its own side.

    Args:
        config: Which answers and how; `min_confidence` and `max_pairs` count single answers.
        name: What to call the source in messages; default: `config.dataset`.

    Returns:
        Training and held-out answers with the ledger, which counts answers.

    Raises:
        SourceError: Nothing can be read.
        DataError: Neither layout, rows that cannot be trained on, or answers of one kind only.
        ConfigError: A setting needs a column that is not there, or held-out readers trained the
            models that labelled the others.
    """
    name = name or config.dataset
    dataset = open_dataset(config.dataset, config.dataset_config, config.dataset_split)
    columns = set(dataset.column_names)
    if {"completion", "label"} <= columns:
        rows = _single_answers(dataset, config, name)
    elif columns and columns >= {*SIDES}:
        rows = _of_pairs(dataset, config, name)
        name = f"{name}, each pair as two answers"
    elif not len(dataset):
        raise DataError(f"{name}: 0 answers; expected at least two; check how it was written")
    else:
        missing = {"completion", "label"} - columns
        raise DataError(
            f"{name}: no column {' and no column '.join(sorted(missing))}; it has "
            f"{', '.join(dataset.column_names)}; {_EXPECTED}: rename or map what holds them"
        )
    found = split_rows(rows, config, name, ("completion",))
    check_both_kinds(found.train["label"], name)
    return found


def _single_answers(dataset: Dataset, config: PairDataConfig, name: str) -> list[Row]:
    """Return the rows of unpaired data."""
    wanted = {"label", "confidence", *columns_read(config)}
    in_past = config.history == "chosen"
    table = rows_of(dataset, name, wanted)
    if not has_prompt(table.column_names):
        raise DataError(
            f"{name}: no column prompt; it has {', '.join(table.all_columns)}; {_EXPECTED}"
        )

    def answer(row: Mapping[str, Any]) -> Row:
        read = explicit_answer(row)
        if in_past and _OWN_PAST in row:
            read[_PAST] = row[_OWN_PAST]  # under the name by which a past is read
        return read

    rows = table.read(answer)
    labels = [row["label"] for row in rows]
    refuse_rows(
        name,
        "'label' is neither true nor false",
        [i for i, label in enumerate(labels) if not isinstance(label, bool)],
        labels,
        "it says whether the answer was wanted; cast the column to bool, or remove those rows",
    )
    repeating = [
        i
        for i, row in enumerate(rows)
        if isinstance(row["prompt"], str) and row["completion"].startswith(row["prompt"])
    ]
    if len(repeating) == len(rows):
        refuse_rows(
            name,
            "the completion begins with the whole 'prompt'",
            repeating,
            [row["completion"] for row in rows],
            "expected answers alone, or the question would be trained as one; cut it off",
        )
    add_confidence(
        rows,
        name,
        "it is the probability that 'label' is right: turn the label where it is below one half, "
        "rescale it, or drop the column",
    )
    if in_past and any(isinstance(row["prompt"], str) for row in rows):
        there = [dict.fromkeys(table.all_columns)]
        require_columns(there, name, {_OWN_PAST: "history: chosen"})
    return rows


def _of_pairs(dataset: Dataset, config: PairDataConfig, name: str) -> list[Row]:
    """Return two rows for each pair: the chosen answer, and the rejected one."""
    in_past = config.history == "chosen"
    pasts = {side: f"history_{side}" for side in SIDES} if in_past else {}
    pairs = read_pairs(dataset, name, {*columns_read(config), *pasts.values()})
    if any(pair["confidence"] < 1 for pair in pairs):
        logger.warning(
            "%s: a confidence says which of two answers is better, not whether one is good; DPO "
            "takes such pairs as they are",
            name,
        )
    if in_past and any(isinstance(pair["prompt"], str) for pair in pairs):
        why = "history: chosen (in KTO each answer stands in the past of its own side)"
        require_columns(pairs, name, {column: why for column in pasts.values()})
    rows = []
    for i, pair in enumerate(pairs):
        shared = {key: value for key, value in pair.items() if key not in {*SIDES, *pasts.values()}}
        for side in SIDES:
            row = {**shared, "completion": pair[side], "label": side == "chosen"}
            if past := pair.get(pasts.get(side, "")):
                try:
                    row[_PAST] = read_messages(past, pasts[side])
                except RowError as error:
                    raise DataError(f"{name}: row {i}, counted from 0: {error}") from error
            elif in_past:
                row[_PAST] = []
            rows.append(row)
    return rows
