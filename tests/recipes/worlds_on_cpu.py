"""Run a recipe in worlds of two CPU processes each, plain ones and under FSDP2.

The argument is a JSON list of worlds: `recipe`, its `arguments`, `environment` and `said`, the file
that takes the standard error. Every process gets what `torch.distributed.run` would give it, but is
a fork of this one, so that torch and trl are imported once for all.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import Trainer

import ifllm_hf.alignment.dpo.run  # noqa: F401 - with all that it imports
from tests.helpers.spaces.running import free_port

PROCESSES = 2

_plain = AcceleratorState.__init__
_prepare = Trainer._prepare_for_training


def _with_fsdp(self: Any, *arguments: Any, **named: Any) -> None:
    """Shard on CPU processes, which accelerate leaves to GPUs; all else is what happens there."""
    _plain(self, *arguments, **named)
    plugin = named.get("fsdp_plugin") or self.__dict__.get("fsdp_plugin")
    if plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, plugin


def _noted(self: Any, *arguments: Any, **named: Any) -> Any:
    prepared = _prepare(self, *arguments, **named)
    if all(isinstance(p, DTensor) for p in self.model.parameters()):
        sys.stderr.write("weights are sharded\n")
    return prepared


AcceleratorState.__init__ = _with_fsdp
Trainer._prepare_for_training = _noted


def run(world: dict[str, Any], rank: int, port: int) -> None:
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    sizes = {"WORLD_SIZE": PROCESSES, "LOCAL_WORLD_SIZE": PROCESSES}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, **sizes, **places}
    os.environ.update({name: str(value) for name, value in numbers.items()})
    os.environ.update(world["environment"])
    with open(world["said"], "ab") as said:
        os.dup2(said.fileno(), sys.stderr.fileno())
    sys.argv = [world["recipe"], *world["arguments"]]
    runpy.run_path(world["recipe"], run_name="__main__")


if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    for world in json.loads(sys.argv[1]):
        port = free_port()
        processes = [
            fork.Process(target=run, args=(world, rank, port)) for rank in range(PROCESSES)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit(1)
