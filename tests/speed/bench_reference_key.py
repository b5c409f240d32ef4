"""Seconds to identify a reference by its weights, 100 M of them: what a kept reference costs.

python tests/speed/bench_reference_key.py         # one CPU thread
python tests/speed/bench_reference_key.py 4000    # 4,000 M weights; on the GPU, if there is one
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main(millions: int = 100) -> None:
    """Print the median of five for float32 and for bf16 weights."""
    import torch

    from ifllm_hf.alignment.dpo.reference_cache import reference_identity

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for dtype in (torch.float32, torch.bfloat16):
        layers = [
            torch.nn.Linear(2500, 4000, bias=False, dtype=dtype, device=device)
            for _ in range(millions // 10)
        ]
        model = torch.nn.Sequential(*layers)
        seconds = []
        for _ in range(5):
            start = time.perf_counter() if device.type == "cuda" else time.process_time()
            reference_identity(model, None)
            end = time.perf_counter() if device.type == "cuda" else time.process_time()
            seconds.append(end - start)
        spent = statistics.median(seconds)
        sys.stdout.write(f"{millions} M {dtype} on {device.type}: {spent:.3f} s\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("millions", nargs="?", type=int, default=100)
    main(parser.parse_args().millions)
