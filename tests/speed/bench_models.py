"""The eight models at an eighth of their size on a CPU, by QLoRA and by bf16 LoRA.

    python tests/speed/run.py models                  # all eight
    python tests/speed/bench_models.py qwen3-4b       # one
    python tests/speed/bench_models.py --vocabulary 512   # a head that costs next to nothing

Every dimension is an eighth (hidden, feed-forward, vocabulary, layers; heads keep their ratio), the
pairs are as long as those of IFLLM; one thread, CPU seconds. That shows that all eight run and what
they cost against each other, and says nothing about a GPU: there `run.py card` measures them.

For each model and method, a process of its own (`on_card/cell.py`): pairs and tokens per second
after the first step; MFU, of the best of some bf16 matrix products in the same process; and what
training added to the memory of the process, beside what `model_memory.py` counts for that batch.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from measuring import Row, row
from model_memory import SHAPES
from on_card.cell import Task
from on_card.run import measure

_TIMEOUT_S = 3600.0


def main(names: list[str] | None = None, vocabulary: int | None = None) -> list[Row]:
    """Measure the named recipes, or all eight; with their own vocabulary, or one of this size."""
    rows = []
    for name in names or list(SHAPES):
        for method in ("qlora", "lora"):
            task = Task(
                name, method, device="cpu", shrink=8, vocabulary=vocabulary, step_pairs=4,
                warm_up=1, steps=2, whole=False, count_memory=True,
            )  # fmt: skip
            found, failure = measure(asdict(task), _TIMEOUT_S)
            if failure:
                raise RuntimeError(f"{task.key}: {failure}")
            label = f"{name} {method}"
            note = f"small shape, CPU, {found['parameters'] / 1e6:.1f} M"
            rows += [
                row(f"{label}, pairs", found["pairs_per_s"], "/s", note=note),
                row(f"{label}, tokens", found["tokens_per_s"], "/s", note=note),
                row(f"{label}, MFU", found["mfu"], note=note),
                row(f"{label}, peak memory", found["memory_gb"], "GB", note=note),
                row(f"{label}, memory counted", found["counted_gb"], "GB"),
            ]
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--vocabulary", type=int, help="512: the head then costs next to nothing")
    asked = parser.parse_args()
    sys.stdout.write(json.dumps(main(asked.names, asked.vocabulary), indent=1) + "\n")
