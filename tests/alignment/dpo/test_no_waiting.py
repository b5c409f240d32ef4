"""A micro step never asks the device for a value, so that the processor can run ahead of it.

Seen on a CPU: nothing reads a scalar from a tensor, or makes a shape from the values of one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.alignment.policies import batch_of, load, lora

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
WAITS = {"_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "unique_consecutive"}


class Waits(TorchDispatchMode):
    """Count the operators whose result the processor has to wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):  # type: ignore[no-untyped-def]
        name = function._schema.name.removeprefix("aten::")
        by_mask = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if name in WAITS or by_mask:
            self.seen[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("triton", [False, True])
@pytest.mark.parametrize("adapter", [False, True])
def test_a_micro_step_waits_for_nothing(
    tiny: Callable[..., Path],
    make_trainer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    adapter: bool,
    triton: bool,
) -> None:
    from ifllm_hf.alignment.pairs import head

    # TRL's function, which then takes its way without Triton; what is handed to it is the same.
    monkeypatch.setattr(head, "_use_triton", lambda device: triton)
    more = (
        {"peft_config": lora()}
        if adapter
        else {"ref_model": load(tiny(seed=1)), "reference": "base"}
    )
    trainer = make_trainer(load(tiny()), **more)
    assert trainer.padded is None
    trainer.model.train()
    trainer.step0_margin = 0.0  # the reference was checked before the first step
    batch = batch_of(trainer)
    counts = trainer._get_num_items_in_batch([batch], torch.device("cpu"))
    with Waits() as waits:
        loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=counts)
        loss.backward()
    assert not waits.seen


def test_training_waits_no_oftener_when_a_step_has_more_micro_batches(
    make_trainer: Callable[..., Any],
) -> None:
    seen = []
    for accumulation in (2, 6):
        trainer = make_trainer(
            per_device_train_batch_size=2, gradient_accumulation_steps=accumulation, max_steps=1
        )
        with Waits() as waits:
            trainer.train()
        seen.append(waits.seen)
    assert seen[0] == seen[1]
