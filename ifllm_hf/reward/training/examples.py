"""From turns to batches: what is preferred over what, how surely, and the tensors of both answers.

An example is one pair of answers, preferred first, or one single answer with its rating.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ifllm_hf.errors import DataError
from ifllm_hf.files import digest

Features = dict[str, Any]
Example = dict[str, Any]

_ENCODE_AT_ONCE = 64
_TEXT = ("query_id", "prompt", "response_a", "response_b")
_READER = ("turn", "trajectory_history")
_TICKS = (
    *("t_ms", "phase", "page_load"),
    *(f"{c}_{what}" for c in ("gaze", "mouse") for what in ("on", "char", "x_px")),
)


@dataclass(frozen=True)
class Preference:
    """What is known about a pair.

    Attributes:
        side: The preferred answer, `a` or `b`.
        confidence: Probability that it is.
    """

    side: str
    confidence: float = 1.0


def columns_to_read(available: Iterable[str], extra: Sequence[str] = ()) -> list[str]:
    """Return the columns that the processor reads, of those there are.

    Raises:
        DataError: An extra channel is not among them.
    """
    names = set(available)
    missing = [name for name in extra if name not in names]
    if missing:
        raise DataError(
            f"extra_channels names {missing[0]!r}, which is no column of the turns; expected a "
            "list of numbers per turn, parallel to t_ms"
        )
    return [name for name in (*_TEXT, *_READER, *_TICKS, *extra) if name in names]


def encode_turns(processor: Any, turns: Any) -> dict[int, dict[str, Features]]:
    """Return the unpadded tensors of every answer, by query id and side.

    Args:
        processor: An `IFLLMProcessor`, fitted on training turns.
        turns: A `Dataset` of the `pairwise` or `pointwise` config.

    Raises:
        DataError: See `IFLLMProcessor`.
    """
    extra = processor.feature_extractor.extra_columns
    turns = turns.select_columns(columns_to_read(turns.column_names, extra))
    out = {}
    for start in range(0, len(turns), _ENCODE_AT_ONCE):
        part = turns[start : start + _ENCODE_AT_ONCE]
        encoded = processor.encode_rows(part)
        names = sorted({name[:-2] for name in encoded})
        for i, query in enumerate(part["query_id"]):
            sides = {s: {n: encoded[f"{n}_{s}"][i] for n in names} for s in "ab"}
            out[int(query)] = {s: f for s, f in sides.items() if f["input_ids"] is not None}
    return out


def preferences(
    rows: Iterable[Mapping[str, Any]], labels: Iterable[Mapping[str, Any]] | None = None
) -> dict[int, Preference]:
    """Return what is known about each pair, by query id; ties and unlabelled turns are left out.

    Args:
        rows: Turns with `query_id, response_a, response_b, preference`.
        labels: Rows of `ifllm label` (`query_id, chosen, confidence`), to use instead of the
            clicks.

    Raises:
        DataError: A label's chosen answer is neither of the turn's answers, or its confidence is no
            probability of at least one half.
    """
    if labels is None:
        clicked = ((int(row["query_id"]), row["preference"]) for row in rows)
        return {query: Preference(side) for query, side in clicked if side in ("a", "b")}
    turns = {int(row["query_id"]): row for row in rows}
    out = {}
    for label in labels:
        turn = turns.get(int(label["query_id"]))
        if turn is None:
            continue
        sides = [s for s in "ab" if turn[f"response_{s}"] == label["chosen"]]
        if not sides:
            raise DataError(
                f"labels, query {label['query_id']}: 'chosen' is neither answer of that turn; "
                "label the same data that is trained on"
            )
        confidence = label["confidence"]
        if confidence is None or not 0.5 <= float(confidence) <= 1:
            raise DataError(
                f"labels, query {label['query_id']}: 'confidence' is {confidence}; expected the "
                "probability that 'chosen' is better, 0.5 to 1; write the file with `ifllm label`"
            )
        out[int(label["query_id"])] = Preference(sides[0], float(confidence))
    return out


def pair_example(
    sides: Mapping[str, Features], preference: Preference, row: Mapping[str, Any] | None = None
) -> Example:
    """Return one pair, preferred answer first, with its ratings where `row` has them."""
    order = "ab" if preference.side == "a" else "ba"
    return _example([sides[s] for s in order], order, row, preference.confidence)


def single_example(features: Features, row: Mapping[str, Any], side: str = "a") -> Example:
    """Return one answer with its rating."""
    return _example([features], side, row, None)


def _example(
    rows: list[Features], order: str, row: Mapping[str, Any] | None, confidence: float | None
) -> Example:
    ratings = [None if row is None else row.get(f"likert_{side}") for side in order]
    longest = max(rows, key=lambda features: len(features["input_ids"]))
    return {
        "input_ids": longest["input_ids"],  # batches hold examples of similar length
        "rows": rows,
        "confidence": confidence,
        "likert": [float("nan") if rating is None else float(rating) for rating in ratings],
    }


def pad_answers(processor: Any, rows: Sequence[Features]) -> dict[str, Any]:
    """Return padded tensors of some answers; a kept `text_vector` stands for their tokens."""
    import torch

    if "text_vector" not in rows[0]:
        return dict(processor.pad(rows))
    kept = ("trajectory", "context")
    without_tokens = [{k: v for k, v in row.items() if k.startswith(kept)} for row in rows]
    batch = dict(processor.pad(without_tokens))
    batch["text_vector"] = torch.stack([row["text_vector"] for row in rows])
    return batch


class RewardCollator:
    """Makes a batch of examples: preferred answers, the others in the same order, single ones."""

    def __init__(self, processor: Any, *, likert: bool = False) -> None:
        """Keep the processor that pads.

        Args:
            processor: An `IFLLMProcessor`.
            likert: Whether to add the ratings.
        """
        self.processor = processor
        self.likert = likert

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Return padded tensors, `confidence` `[pairs]` and, if asked for, `likert` `[rows]`."""
        import torch

        pairs = [e for e in examples if len(e["rows"]) == 2]
        singles = [e for e in examples if len(e["rows"]) == 1]
        order = [*((e, 0) for e in pairs), *((e, 1) for e in pairs), *((e, 0) for e in singles)]
        batch = pad_answers(self.processor, [e["rows"][i] for e, i in order])
        batch["confidence"] = torch.tensor([e["confidence"] for e in pairs], dtype=torch.float32)
        if self.likert:
            batch["likert"] = torch.tensor([e["likert"][i] for e, i in order])
        return batch


def fingerprint(rows: Iterable[Mapping[str, Any]], known: Mapping[int, Preference]) -> str:
    """Return 12 hex digits that name the texts and labels trained on, in any order."""
    lines = sorted(
        f"{row['query_id']}|{row['prompt']}|{row['response_a']}|{row['response_b']}|"
        f"{known.get(int(row['query_id']))}|{row.get('likert_a')}|{row.get('likert_b')}"
        for row in rows
    )
    return digest("\n".join(lines), 12)


def behavior_fingerprint(turns: Any, ids: Collection[int], extra: Sequence[str] = ()) -> str:
    """Return 12 hex digits that name the ticks of some turns, in any order.

    Args:
        turns: A `Dataset` of the `pairwise` or `pointwise` config.
        ids: The turns.
        extra: Other tick columns that are read.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [c for c in columns_to_read(turns.column_names, extra) if c not in _TEXT]
    table = turns.select_columns(["query_id", *names]).with_format("arrow")[:]
    table = table.filter(pc.is_in(table["query_id"], pa.array(sorted(ids), pa.int64())))
    table = table.take(pc.sort_indices(table["query_id"]))
    content = hashlib.sha256()
    for name in table.column_names:
        values = table[name].combine_chunks()
        content.update(pa.record_batch([values], [name]).serialize())
    return content.hexdigest()[:12]


def session_hashes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return 16 hex digits of every conversation trained on, so that one can ask what was seen."""
    names = {str(row["conversation_id"]) for row in rows}
    return sorted(digest(name, 16) for name in names)
