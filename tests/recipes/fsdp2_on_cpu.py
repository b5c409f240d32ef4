"""Run a recipe under FSDP2 on CPU processes, which accelerate leaves to GPUs: it shards there only.

Launched by `torch.distributed.run` with accelerate's FSDP variables set; arguments: the recipe and
its own arguments. Everything but the choice of the kind of run is what happens on GPUs.
"""

from __future__ import annotations

import runpy
import sys
from typing import Any

from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from torch.distributed.tensor import DTensor
from transformers import Trainer

_plain = AcceleratorState.__init__


def _with_fsdp(self: Any, *arguments: Any, **named: Any) -> None:
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
_prepare, Trainer._prepare_for_training = Trainer._prepare_for_training, _noted
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
