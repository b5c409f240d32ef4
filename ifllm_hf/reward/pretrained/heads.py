"""Which head of a reward model has learned from which reader.

Beside its weights a model may have a head for each fold of readers, fitted without them. A known
reader's answers are scored by the one that has not seen that reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ifllm_hf.errors import DataError, require_one_of
from ifllm_hf.files import digest
from ifllm_hf.training.run_record import read_run

HEADS_FILE, READERS_FILE = "heads.safetensors", "readers.json"
ALL = "all"
"""The head of the model itself, fitted on everybody."""
_OWN = "model.evidence."


@dataclass(frozen=True)
class Heads:
    """The heads of a model, and who was learned from.

    Attributes:
        seen: By head, `reader_digest` of the readers that it has seen.
        weights: By head and name, what an `EvidenceHead` holds; empty where the model is all there
            is.
    """

    seen: Mapping[str, frozenset[str]]
    weights: Mapping[str, Mapping[str, np.ndarray[Any, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str | os.PathLike[str]) -> Heads | None:
        """Read who a model has learned from, from its folder; None where nothing says so.

        Raises:
            DataError: Heads and readers do not belong together.
        """
        folder = Path(model)
        if not (folder / READERS_FILE).is_file():
            run = read_run(folder) if folder.is_dir() else None
            readers = (run or {}).get("data", {}).get("readers")
            return None if readers is None else cls({ALL: frozenset(map(reader_digest, readers))})
        from safetensors.numpy import load_file

        listed = json.loads((folder / READERS_FILE).read_text(encoding="utf-8"))
        weights: dict[str, dict[str, Any]] = {ALL: {}}
        for name, values in load_file(folder / "model.safetensors").items():
            if name.startswith(_OWN):
                weights[ALL][name.removeprefix(_OWN)] = values
        for name, values in load_file(folder / HEADS_FILE).items():
            head, _, rest = name.partition(".")
            weights.setdefault(head, {})[rest] = values
        if weights.keys() != listed.keys():
            raise DataError(
                f"{folder}: {READERS_FILE} names the heads {', '.join(sorted(listed))}, "
                f"{HEADS_FILE} has {', '.join(sorted(weights))}; expected the same. Fetch or build "
                "the folder again"
            )
        return cls({head: frozenset(readers) for head, readers in listed.items()}, weights)

    def for_reader(self, user_id: str) -> str:
        """Return the head that scores a reader: the model's own, unless it has seen them."""
        # The model's own comes first, and last: where all heads have seen a reader, it is as good.
        order = sorted(self.seen, key=lambda head: (head != ALL, head))
        return next((head for head in order if not self.has_seen(head, user_id)), ALL)

    def has_seen(self, head: str, user_id: str) -> bool:
        """Tell whether a head has learned from a reader.

        Raises:
            ConfigError: There is no such head.
        """
        require_one_of("head", head, sorted(self.seen))
        return reader_digest(user_id) in self.seen[head]

    def use(self, head: str, model: Any) -> None:
        """Give a loaded `IFLLMForRewardModeling` the weights of a head, in place."""
        if head in self.weights:
            import torch

            weights = {name: torch.tensor(values) for name, values in self.weights[head].items()}
            model.model.evidence.load_state_dict(weights)


def reader_digest(user_id: str) -> str:
    """Return the 16 hex digits by which a reader is listed."""
    return digest(str(user_id), 16)
