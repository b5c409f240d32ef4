"""Processes get about as many tokens in every step; each epoch has each pair once."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
BATCH = 4


def steps(order: list[int], processes: int) -> list[list[list[int]]]:
    """Return who reads what in each whole step, as accelerate deals the batches out."""
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    whole = BatchSampler(order, BATCH, drop_last=True)
    shards = [list(BatchSamplerShard(whole, processes, i)) for i in range(processes)]
    return [list(step) for step in zip(*shards, strict=True)]


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_have_about_equal_tokens_in_every_step(processes: int) -> None:
    from ifllm_hf.alignment.pairs.balance import BalancedSampler

    rng = np.random.default_rng(0)
    tokens = rng.integers(40, 1500, size=320)
    shares = {}
    for name, order in (
        ("random", rng.permutation(320).tolist()),
        ("balanced", list(BalancedSampler(tokens.tolist(), BATCH, processes))),
    ):
        sums = np.array([[tokens[rows].sum() for rows in step] for step in steps(order, processes)])
        shares[name] = (sums.max(axis=1) / sums.mean(axis=1)).mean()
    assert shares["balanced"] < 1.03
    assert shares["random"] > 1.1


def test_each_epoch_has_each_pair_once_and_an_order_of_its_own() -> None:
    from ifllm_hf.alignment.pairs.balance import BalancedSampler

    tokens = list(range(1, 52))  # the last step is not full
    sampler = BalancedSampler(tokens, BATCH, 2, seed=7)
    first = list(sampler)
    assert sorted(first) == list(range(51))
    assert len(sampler) == 51
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == sorted(first)
    assert second != first
    resumed = BalancedSampler(tokens, BATCH, 2, seed=7)
    resumed.set_epoch(1)
    assert list(resumed) == second
    plain = BalancedSampler(tokens, BATCH, 1, seed=7)
    together = 2 * BATCH
    for start in range(0, 48, together):  # a step holds the pairs of a plain order
        assert set(first[start : start + together]) == set(list(plain)[start : start + together])


@pytest.mark.parametrize(("processes", "balanced"), [(1, False), (2, True)])
def test_the_trainer_balances_where_processes_wait_for_each_other(
    make_trainer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    processes: int,
    balanced: bool,
) -> None:
    from ifllm_hf.alignment.pairs.balance import BalancedSampler

    trainer = make_trainer(per_device_train_batch_size=BATCH)
    monkeypatch.setattr(
        trainer, "accelerator", SimpleNamespace(num_processes=processes, split_batches=False)
    )
    sampler = trainer._get_train_sampler()
    assert isinstance(sampler, BalancedSampler) == balanced
    assert sorted(sampler) == list(range(24))
