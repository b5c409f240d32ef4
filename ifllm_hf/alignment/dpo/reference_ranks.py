"""Log probabilities of the reference in ranks: parts that processes or machines compute apart.

    .OUT.reference/train/ranks/00001.json   the record of a whole rank, written last
    .OUT.reference/train/ranks/00001.npy    its values, shape (pairs, 2)

They lie beside the output folder of the run that will train. A batch is never cut: each holds the
pairs that it would hold in one process, and so the values are the same to the last bit on machines
that compute the same. The run takes what is there, and computes what is not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ifllm_hf.alignment.dpo.reference_cache import LogProbs, longest_first
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest, read_json_object, whole_file, write_json

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]


def reference_folder(output_dir: str | os.PathLike[str]) -> Path:
    """Return where the ranks of a run meet: beside its output folder."""
    place = Path(os.path.realpath(output_dir))
    return place.with_name(f".{place.name}.reference")


def parse_rank(text: str) -> tuple[int, int]:
    """Return a rank and how many there are.

    Raises:
        ConfigError: It is not K/N with K from 0 to N - 1.

    >>> parse_rank("0/4")
    (0, 4)
    """
    rank, slash, ranks = text.partition("/")
    if slash and rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks):
        return int(rank), int(ranks)
    raise ConfigError(
        f"reference_rank is {text!r}; expected K/N with K from 0 to N - 1: 0/4, 1/4, 2/4 and 3/4 "
        "are all of four"
    )


def parts_of(lengths: Rows, batch_size: int, ranks: int) -> list[Rows]:
    """Cut rows into parts of whole batches and about equal tokens, the longest first.

    Args:
        lengths: The tokens of each row.
        batch_size: Rows of a batch.
        ranks: How many parts; those beyond the batches are empty.

    >>> [part.tolist() for part in parts_of(np.array([1, 3, 1, 4]), 2, 3)]
    [[3, 1], [0, 2], []]
    """
    order = longest_first(lengths)
    if ranks == 1:
        return [order]
    from ifllm_hf.data.ranks.listing import cut  # imports polars, which a run does without

    starts = range(0, len(order), batch_size)
    tokens = lengths[order]
    of_batch = cut([int(tokens[at : at + batch_size].sum()) for at in starts], ranks)
    part_of = np.repeat(np.array(of_batch, dtype=np.int64), batch_size)[: len(order)]
    return [order[part_of == rank] for rank in range(ranks)]


@dataclass(frozen=True)
class ReferenceRanks:
    """The ranks of one dataset.

    Attributes:
        folder: Where they lie.
        made_of: All that their values depend on; of two differences the first is named.
    """

    folder: Path
    made_of: Mapping[str, Any]

    def number(self) -> int | None:
        """Return into how many ranks the dataset was cut; None where nothing is there.

        Raises:
            ConfigError: The ranks there are of something else; see `read`.
        """
        numbers = {self._record(file)["ranks"] for file in self._files()}
        if len(numbers) > 1:
            raise ConfigError(
                f"{self.folder}: its ranks were cut into {' and '.join(map(str, sorted(numbers)))} "
                "parts; delete those of one kind"
            )
        return numbers.pop() if numbers else None

    def check(self, ranks: int) -> None:
        """Refuse ranks that cannot be taken together with one of `ranks`; see `number`."""
        there = self.number()
        if there not in (None, ranks):
            raise self._refused("ranks", there, ranks)

    def read(self, rank: int) -> LogProbs | None:
        """Return the values of a rank, shape (pairs, 2); None where they are not whole.

        Raises:
            ConfigError: They were computed from other pairs, by another model, and so on.
        """
        files = self._files()
        if not files or (file := self._place(rank)) not in files:
            return None
        values = file.with_suffix(".npy")
        try:
            if digest(values.read_bytes()) == self._record(file)["sha256"]:
                found: LogProbs = np.load(values, allow_pickle=False)
                return found
        except FileNotFoundError:
            pass
        logger.warning("%s is not as it was written; its rank is done again", values)
        return None

    def write(self, rank: int, ranks: int, values: LogProbs) -> None:
        """Keep the values of a rank, its record last.

        Raises:
            ConfigError: Ranks of something else came there meanwhile.
            OutputError: The disk is full.
        """
        self.check(ranks)
        file = self._place(rank)
        with whole_file(file.with_suffix(".npy")) as aside, aside.open("wb") as place:
            np.save(place, values, allow_pickle=False)
        written = digest(file.with_suffix(".npy").read_bytes())
        record = {"made_of": self.made_of, "ranks": ranks, "sha256": written}
        write_json(file, record)

    def left(self, ranks: int) -> list[int]:
        """Return which of so many ranks have no record."""
        return [rank for rank in range(ranks) if not self._place(rank).exists()]

    def _place(self, rank: int) -> Path:
        """Return the record of a rank, which lies as those of `ifllm prepare --tasks`."""
        from ifllm_hf.data.ranks.rank import record_path

        return record_path(self.folder, rank)

    def _files(self) -> list[Path]:
        """Return the records that can be read; others are as if they were not there."""
        found = []
        for file in sorted(self.folder.glob("*/*.json")):
            try:
                if {"made_of", "ranks", "sha256"} <= read_json_object(file).keys():
                    found.append(file)
                    continue
            except ConfigError:
                pass
            logger.warning("%s is no record; its rank is done again", file)
        return found

    def _record(self, file: Path) -> dict[str, Any]:
        record = read_json_object(file)
        for name, now in self.made_of.items():
            if record["made_of"].get(name) != now:
                raise self._refused(name, record["made_of"].get(name), now)
        return record

    def _refused(self, name: str, then: Any, now: Any) -> ConfigError:
        return ConfigError(
            f"{self.folder}: holds ranks of another reference ({name} {then}, and here {now}); "
            "compute all with the same settings, data and versions, or delete that folder"
        )
