"""Batches of about equal tokens for processes that wait for each other in every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler


class BalancedSampler(Sampler[int]):
    """A random order in which the batches that processes read at one time are about equally long.

    accelerate gives batch `k` of the order to process `k mod processes`. Each run of
    `processes x batch_size` rows is the one of a plain random order; only who reads which of them
    is chosen, longest row first, to the process that has the fewest tokens so far and room. So
    steps hold the pairs that they would have held, and the order follows from seed and epoch alone:
    a run that is resumed reads on where it stopped.

    Args:
        tokens: Of each row.
        batch_size: Rows of one process at one time.
        processes: That train together.
        seed: Of the random order.
    """

    def __init__(
        self, tokens: Sequence[int], batch_size: int, processes: int, seed: int = 0
    ) -> None:
        """Keep the settings; see the class."""
        self._tokens = list(tokens)
        self._batch_size = batch_size
        self._processes = processes
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; Trainer does before each one, and when it resumes."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._tokens)

    def __iter__(self) -> Iterator[int]:
        """Yield each row once."""
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order = torch.randperm(len(self._tokens), generator=generator).tolist()
        together = self._processes * self._batch_size
        for start in range(0, len(order), together):
            rows = order[start : start + together]
            # What is left at the end fills whole batches first, as it would in a plain order.
            yield from self._balanced(rows) if len(rows) == together else rows

    def _balanced(self, rows: list[int]) -> list[int]:
        batches: list[list[int]] = [[] for _ in range(self._processes)]
        total = [0] * self._processes
        for row in sorted(rows, key=lambda row: -self._tokens[row]):
            room = (i for i, batch in enumerate(batches) if len(batch) < self._batch_size)
            least = min(room, key=lambda i: total[i])
            batches[least].append(row)
            total[least] += self._tokens[row]
        return [row for batch in batches for row in batch]
