"""One figure of the card, in a process of its own: a shape, a method, and whose trainer.

    python -m on_card.cell TASK.json FOUND.json     # as run.py and bench_models.py start it

The model has random weights, the pairs are made up with the lengths of the IFLLM pairs, and all
else is the recipe's. A cell trains three times with one trainer: a step on the longest answers that
the recipe reads (peak memory), some steps on usual pairs (speed, after a warm-up), and one step
that is counted (kernel launches). What was found is written after each.

MFU counts 6 FLOP for each weight that multiplies a token: policy forward, gradient of activations,
reference. Recomputation, attention and adapters do not count; a token of a prompt counts for either
answer, though ours reads it once.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from on_card.gauges import Launches, PeakMemory, memory_limited_to, peak_flops, product_flops
from on_card.recipe_trainer import longest_pairs_of, trainer_of

_FLOP_OF_A_WEIGHT = 6
# What torch, CUDA, cuBLAS and a CPU say.
_NO_MEMORY = ("out of memory", "ALLOC_FAILED", "can't allocate memory")


@dataclass(frozen=True)
class Task:
    """What one process measures.

    Attributes:
        shape: Recipe.
        method: `qlora`, with checkpointing as the recipe has it, or `lora`, without where the
            longest batch fits without.
        side: `ours`; `trl`, its own trainer with the same settings; or `trl-grouped`, with TRL's
            `group_by_length` over lengths that it does not make by itself.
        kind: `steps`; `pairs`, an epoch of so many; or `equal`, with the largest micro batch whose
            longest answers train within `cap_gb`.
        device: `cuda` or `cpu`.
        shrink: Every dimension of the model is divided by this.
        shorter: So is every text.
        vocabulary: Words, if not as many as the shape has.
        pairs: Of kind `pairs`.
        step_pairs: Pairs of an optimizer step; the recipe's 16 by default.
        warm_up: Steps before those that are timed.
        steps: Steps that are timed.
        whole: Whether the longest answers and the launches are measured too. If not,
            checkpointing is the recipe's in any case.
        cap_gb: Memory of kind `equal`, the context of CUDA included.
        card: Name of the card that this is to be; another is an error.
        peak_flops: FLOP a second that MFU is a share of; by default the table's, or measured.
        count_memory: Whether to count the memory of the largest batch too (`model_memory.py`).
        started: Seconds since the epoch when the process was asked for.
    """

    shape: str
    method: str
    side: str = "ours"
    kind: str = "steps"
    device: str = "cuda"
    shrink: int = 1
    shorter: int = 1
    vocabulary: int | None = None
    pairs: int = 1000
    step_pairs: int | None = None
    warm_up: int = 2
    steps: int = 6
    whole: bool = True
    cap_gb: float | None = None
    card: str | None = None
    peak_flops: float | None = None
    count_memory: bool = False
    started: float | None = None

    @property
    def key(self) -> str:
        """Its name: shape, method, side, kind."""
        return f"{self.shape} {self.method} {self.side} {self.kind}"


def measure(task: Task, place: Path, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train as a task says and return what was found; `keep` gets what there is so far.

    Args:
        task: What to measure.
        place: An empty folder.
        keep: Called with the findings each time that there are more.
    """
    from model_memory import matrices_of, model_on_meta, peak_of_a_step

    _check_card(task)
    run = _Training(task, place)
    found: dict[str, Any] = {"weights_s": run.weights_s}
    micro = run.trainer.args.per_device_train_batch_size
    step_pairs = task.step_pairs or micro * run.trainer.args.gradient_accumulation_steps
    micro = min(micro, step_pairs)
    if task.kind == "equal":
        micro = run.largest_micro_batch(step_pairs)
        found["cap_gb"] = task.cap_gb
    elif task.whole:
        run.train_longest(micro)
    accumulate = max(1, step_pairs // micro)
    found |= {
        "micro_batch": micro,
        "accumulate": accumulate,
        "checkpointing": run.trainer.args.gradient_checkpointing,
        "adapter_dtype": str(run.adapter_dtype).removeprefix("torch."),
    }
    if task.whole:
        found |= {f"longest_{name}": value for name, value in run.memory.items()}
        found |= {"first_step_begins_s": run.first_begins_s, "first_step_ends_s": run.first_ends_s}
        keep(found)

    if task.kind == "pairs":
        run.train(run.usual, micro, accumulate)
        warm_up, seconds = 0, run.seconds
        found |= {"epoch_s": seconds, "pairs": len(run.usual)}
    else:
        run.train(run.usual, micro, accumulate, task.warm_up + task.steps)
        warm_up = task.warm_up
        seconds = run.step_ends[-1] - run.step_ends[warm_up - 1]
    timed = run.batches[warm_up * accumulate : len(run.step_ends) * accumulate]
    pairs = [pair for batch in timed for pair in batch]
    tokens = sum(map(run.tokens_of, pairs)) / seconds
    meta = model_on_meta(task.shape, run.config)
    flops = _FLOP_OF_A_WEIGHT * sum(weight.numel() for weight in matrices_of(meta)) * tokens
    peak = task.peak_flops or peak_flops(task.device)[0]
    found |= run.memory | {
        "parameters": sum(parameter.numel() for parameter in meta.parameters()),
        "pairs_per_s": len(pairs) / seconds,
        "tokens_per_s": tokens,
        "step_ms": 1000 * seconds / (len(run.step_ends) - warm_up),
        "mfu": flops / peak,
    }
    if task.count_memory:
        most = max(run.batches, key=lambda batch: sum(map(run.tokens_of, batch)))
        counted, _ = peak_of_a_step(task.shape, run.config, task.method, most, head=True)
        trained = [p for p in run.trainer.model.parameters() if p.requires_grad]
        # Weight and two moments; the gradient is in the count.
        counted += 3 * sum(p.numel() * p.element_size() for p in trained)
        found["counted_gb"] = counted / 1e9
    keep(found)

    if task.whole:
        try:
            run.train(run.usual, micro, accumulate, 1, counted=True)
            found["launches"] = run.launches
        except Exception as error:  # a profiler that fails must not cost what was measured
            found["launches_error"] = f"{type(error).__name__}: {error}"[:300]
    return found


def _check_card(task: Task) -> None:
    import torch

    if task.device == "cuda" and task.card not in (None, torch.cuda.get_device_name()):
        raise SystemExit(f"this card is {torch.cuda.get_device_name()}, expected {task.card}")


class _Training:
    """A trainer that trains again and again, and what was seen of the last time.

    Attributes:
        trainer: Ours or TRL's.
        config: The shape.
        longest: Pairs that fill the recipe's length.
        usual: Pairs with the lengths of the IFLLM pairs.
        weights_s: Seconds that the weights took.
        adapter_dtype: Of what is trained.
        first_begins_s: Seconds from a fresh Python to the first step; CPU seconds on a CPU.
        first_ends_s: The same, to its end.
        seconds: Of the last training.
        step_ends: When each of its steps ended.
        batches: The pairs of each of its micro batches, and maybe some that were only fetched.
        memory: What it took at most, in GB.
        launches: Of kernels on a GPU, of operations on a CPU, when they were counted.
    """

    def __init__(self, task: Task, place: Path) -> None:
        self._task = task
        self._cuda = task.device == "cuda"
        self.first_begins_s = self.first_ends_s = None
        self.launches: int | None = None
        self._counter: Launches | None = None
        self.trainer, self.config, self.weights_s, self._pairs_s = trainer_of(task, place)
        self.adapter_dtype = next(
            p.dtype for p in self.trainer.model.parameters() if p.requires_grad
        )
        rows = self.trainer.train_dataset
        n = longest_pairs_of(task, self.trainer.args)
        self.longest, self.usual = rows.select(range(n)), rows.select(range(n, len(rows)))
        collate = self.trainer.data_collator

        def noting(examples: list[dict[str, Any]]) -> Any:
            self.batches.append(examples)
            return collate(examples)

        self.trainer.data_collator = noting
        self.trainer.add_callback(_callback(self))
        self._release()

    def now(self) -> float:
        """Seconds: of the clock on a GPU, of the CPU elsewhere, where others compute too."""
        import torch

        if not self._cuda:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    def since_start(self) -> float:
        """Seconds since this Python was asked for, without those of making pairs up."""
        if not self._cuda or self._task.started is None:
            return time.process_time() - self._pairs_s
        self.now()
        return time.time() - self._task.started - self._pairs_s

    def train(
        self,
        rows: Any,
        micro: int,
        accumulate: int,
        steps: int | None = None,
        *,
        counted: bool = False,
    ) -> None:
        """Train some steps, or an epoch."""
        trainer = self.trainer
        trainer.train_dataset = rows
        trainer.args.max_steps = steps or -1
        trainer.args.num_train_epochs = 1
        trainer.args.gradient_accumulation_steps = accumulate
        trainer.args.per_device_train_batch_size = trainer._train_batch_size = micro
        self.batches: list[list[dict[str, Any]]] = []
        self.step_ends: list[float] = []
        self._counter = Launches(self._cuda) if counted else None
        start = self.now()
        trainer.train()
        self.seconds = self.now() - start
        self.memory = self._memory.end()
        if self._counter is not None:
            self.launches = self._counter.total()

    def train_begins(self) -> None:
        # Here, not before: on a CPU what the trainer sets up is not what training takes.
        self._memory = PeakMemory(self._cuda)

    def step_begins(self) -> None:
        if self.first_begins_s is None:
            self.first_begins_s = self.since_start()
        if self._counter is not None:
            self._counter.start()

    def step_ends_now(self) -> None:
        self.step_ends.append(self.now())
        if self.first_ends_s is None:
            self.first_ends_s = self.since_start()
        if self._counter is not None:
            self._counter.stop()

    def train_longest(self, micro: int) -> None:
        """Train a step on the longest answers, with checkpointing if it does not fit without."""
        if not self._fits(micro) and not self._checkpoint_instead(micro):
            raise SystemExit(f"{micro} pairs of the longest answers do not fit this card")

    def largest_micro_batch(self, most: int) -> int:
        """Return the largest micro batch within the cap: by doubling, then half a doubling.

        The longest answers that the recipe reads have to fit, as they do in a whole run.
        """
        best, size, memory = 0, 1, {}
        with memory_limited_to(self._task.cap_gb if self._cuda else None):
            while size <= most and self._fits(size):
                best, memory, size = size, self.memory, 2 * size
            if best > 1 and size <= most and self._fits(best * 3 // 2):
                best, memory = best * 3 // 2, self.memory
            if not best and self._checkpoint_instead(1):
                return self.largest_micro_batch(most)
        if not best:
            raise SystemExit(f"not one pair of the longest answers fits {self._task.cap_gb} GB")
        self.memory = memory
        return best

    def _fits(self, micro: int) -> bool:
        """Say whether a step on the longest answers fits the memory, and forget it if not."""
        try:
            self.train(self.longest.select(range(micro)), micro, 1, 1)
        except RuntimeError as error:
            if not any(words in str(error) for words in _NO_MEMORY):
                raise
            fits = False
        else:
            # A CPU has no limit to run against, and not every one says what it took.
            cap, took = self._task.cap_gb, self.memory["memory_gb"]
            fits = self._cuda or cap is None or took is None or took <= cap
        if not fits:
            self.trainer.model.zero_grad()
            self._release()  # outside of `except`, whose error holds on to the tensors
        return fits

    def _checkpoint_instead(self, micro: int) -> bool:
        """Turn checkpointing on and say whether that helps."""
        args = self.trainer.args
        if args.gradient_checkpointing:
            return False
        args.gradient_checkpointing = True
        self.trainer.model.enable_input_require_grads()
        return self._fits(micro)

    def tokens_of(self, pair: dict[str, Any]) -> int:
        """Tokens of both answers, each after its prompt."""
        limit = self.trainer.args.max_length
        prompt = len(pair["prompt_ids"])
        return sum(min(limit, prompt + len(pair[f"{side}_ids"])) for side in ("chosen", "rejected"))

    def _release(self) -> None:
        import torch

        gc.collect()
        if self._cuda:
            torch.cuda.empty_cache()


def _callback(run: _Training) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            run.train_begins()

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            run.step_begins()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            run.step_ends_now()

    return Clock()


def look(device: str, shrink: int) -> dict[str, Any]:
    """Return what is here: device, its peak, versions, and the weights of each shape.

    Args:
        device: `cuda`, `cpu`, or `auto`: a GPU where there is one.
        shrink: Of the shapes; 0: 8 on a CPU, else 1.
    """
    import platform

    import torch
    from model_memory import SHAPES, config_of, matrices_of, model_on_meta
    from on_card.random_models import shape_of

    from ifllm_hf.training.run_record import versions

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    shrink = shrink or (8 if device == "cpu" else 1)
    peak, of = peak_flops(device)
    cuda = device == "cuda"
    return {
        "device": device,
        "shrink": shrink,
        "card": torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}",
        "memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9 if cuda else None,
        "peak_flops": peak,
        "peak_from": of,
        "product_flops": product_flops(device) if cuda else peak,
        "versions": versions(),
        "multiplied": {
            name: sum(
                weight.numel()
                for weight in matrices_of(
                    model_on_meta(name, config_of(name, shape_of(name, shrink)))
                )
            )
            for name in SHAPES
        },
    }


def main(task_file: str, found_file: str) -> None:
    """Measure what a file says and write what was found, whole after each part."""
    import logging
    import warnings

    from ifllm_hf.files import write_whole

    def keep(found: dict[str, Any]) -> None:
        write_whole(Path(found_file), json.dumps(found))

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    asked = json.loads(Path(task_file).read_text())
    if "look" in asked:
        keep(look(**asked["look"]))
        return
    with tempfile.TemporaryDirectory() as place:
        os.environ["IFLLM_CACHE"] = f"{place}/cache"
        os.environ["HF_DATASETS_CACHE"] = f"{place}/datasets"
        keep(measure(Task(**asked), Path(place), keep))


if __name__ == "__main__":
    main(*sys.argv[1:])
