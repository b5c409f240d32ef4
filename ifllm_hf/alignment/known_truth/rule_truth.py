"""How far each rule of `ifllm label --source actions` can be trusted, where the truth is known.

python -m ifllm_hf.alignment.known_truth.rule_truth     # the table of docs/known-truth.md
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.known_truth.acting_readers import (
    MADE_UP,
    ActedWorld,
    ActingReaders,
    acted_world,
)
from ifllm_hf.alignment.labels.actions.action_pairs import write_action_labels
from ifllm_hf.alignment.labels.actions.rules import PAIR_RULES
from ifllm_hf.alignment.labels.actions.unpaired_labels import write_unpaired_actions
from ifllm_hf.data.imports.chat_folder import write_chat_folder
from ifllm_hf.errors import IFLLMError
from ifllm_hf.files import read_parquet
from ifllm_hf.metrics.core import Interval, bootstrap_by_group
from ifllm_hf.metrics.weighted import FloatArray

_EMPTY = 5.5  # the true score of saying nothing


def rule_truth(readers: ActingReaders | None = None, *, seed: int = 0) -> list[dict[str, Any]]:
    """Let made-up readers act, label by each rule alone, and hold the labels to the truth.

    Args:
        readers: How they act.
        seed: Of what they ask, read and do.

    Returns:
        One record a rule, of pairs and then of single answers: `rule, unpaired, n, readers, rated,
        agree, confidence, assumed`; `liked` (of pairs: the chosen answer is the one that the reader
        likes) and `better` (of pairs with different true scores: it is the truly better one; of
        answers: what was wanted is better than saying nothing, what was not is not), each an
        interval over readers, None without any.

    Raises:
        IFLLMError: See `write_action_labels`.
    """
    world = acted_world(readers or ActingReaders(), seed=seed)
    records = []
    with tempfile.TemporaryDirectory(prefix="ifllm-rules-") as place:
        folder, out = Path(place) / "chats", Path(place) / "labels.parquet"
        write_chat_folder(
            folder, world.messages, world.actions, program=MADE_UP, ledgers={}, waiting=0
        )
        for rule in PAIR_RULES:
            known = write_action_labels(folder, out, rules=[rule], overwrite=True)
            records.append(_of_pairs(read_parquet(out), world, known.rules[rule].to_dict()))
        known = write_unpaired_actions(folder, out, overwrite=True)
        answers = read_parquet(out)
        for rule in known.rules:
            mine = answers.filter(pl.col("rule") == rule)
            records.append(_of_answers(mine, world, known.rules[rule].to_dict()))
    return records


def as_markdown(records: Sequence[dict[str, Any]]) -> str:
    """Return the table of docs/known-truth.md."""
    lines = [
        "| rule | of | n | readers | rated | agree | confidence | liked | truly better |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        agree = f"{record['agree'] / record['rated']:.3f}" if record["rated"] else ""
        counts = " | ".join(str(record[name]) for name in ("n", "readers", "rated"))
        assumed = " (assumed)" if record["assumed"] else ""
        lines.append(
            f"| `{record['rule']}` | {'answers' if record['unpaired'] else 'pairs'} | {counts} | "
            f"{agree} | {record['confidence']:.3f}{assumed} | {_said(record['liked'])} | "
            f"{_said(record['better'])} |"
        )
    return "\n".join(lines)


def _of_pairs(pairs: pl.DataFrame, world: ActedWorld, known: dict[str, Any]) -> dict[str, Any]:
    sides = pairs.select("chosen_message_id", "rejected_message_id").rows()
    gain = np.array([world.scores[chosen] - world.scores[other] for chosen, other in sides])
    liked = np.array([world.liked[frozenset(pair)] == pair[0] for pair in sides], dtype=float)
    users = pairs["user_id"].to_numpy()
    return {
        **_counts(pairs, known, unpaired=False),
        "liked": _share(liked, users),
        "better": _share((gain > 0).astype(float)[gain != 0], users[gain != 0]),
    }


def _of_answers(answers: pl.DataFrame, world: ActedWorld, known: dict[str, Any]) -> dict[str, Any]:
    said = answers.select("message_id", "label").rows()
    right = [(world.scores[message_id] > _EMPTY) == wanted for message_id, wanted in said]
    return {
        **_counts(answers, known, unpaired=True),
        "liked": None,
        "better": _share(np.array(right, dtype=float), answers["user_id"].to_numpy()),
    }


def _counts(rows: pl.DataFrame, known: dict[str, Any], *, unpaired: bool) -> dict[str, Any]:
    return {**known, "unpaired": unpaired, "n": rows.height, "readers": rows["user_id"].n_unique()}


def _share(right: FloatArray, users: Any) -> Interval | None:
    if not len(right):
        return None
    return bootstrap_by_group(lambda weights: weights @ right / weights.sum(axis=1), users)


def _said(found: Interval | None) -> str:
    if found is None:
        return ""
    return f"{found.estimate:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--readers", type=int, default=ActingReaders.readers, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of what they ask, read and do")
    arguments = parser.parse_args()
    try:
        records = rule_truth(ActingReaders(readers=arguments.readers), seed=arguments.seed)
        print(as_markdown(records))  # noqa: T201
    except IFLLMError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
