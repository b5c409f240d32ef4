"""What is read off a device while it trains: peak memory, launches, and the FLOP that it can do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Dense bf16 FLOP a second, as the makers state them; the first name that a card's name contains.
PEAK_FLOPS = {
    "H100 PCIe": 756e12, "H100 NVL": 835e12, "H200 NVL": 835e12, "H100": 989e12, "H200": 989e12,
    "B200": 2250e12, "A100": 312e12, "L40S": 362e12,
}  # fmt: skip


class PeakMemory:
    """Peak memory of training: all of it on a GPU; on a CPU, what came on top of what was there."""

    def __init__(self, cuda: bool) -> None:
        import torch

        self._cuda = cuda
        if cuda:
            torch.cuda.reset_peak_memory_stats()
        elif Path("/proc/self/clear_refs").exists():
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
            self._before_gb = _status_gb("VmRSS")

    def end(self) -> dict[str, float | None]:
        """Return GB (1e9 bytes): tensors; on a GPU also what was reserved, and CUDA's context."""
        import torch

        if not self._cuda:
            there = Path("/proc/self/clear_refs").exists()
            return {"memory_gb": _status_gb("VmHWM") - self._before_gb if there else None}
        return {
            "memory_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
            "context_gb": _context_gb(),
        }


def _status_gb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e9


def _context_gb() -> float:
    """What the card gave that tensors do not use: CUDA's context, kernels, workspaces."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return (total - free - torch.cuda.memory_reserved()) / 1e9


@contextmanager
def memory_limited_to(gigabytes: float | None) -> Iterator[None]:
    """Let tensors have so much and no more, as a smaller card would; None: no limit."""
    import torch

    if gigabytes is None:
        yield
        return
    total = torch.cuda.get_device_properties(0).total_memory / 1e9
    torch.cuda.set_per_process_memory_fraction(min(1.0, (gigabytes - _context_gb()) / total))
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


class Launches:
    """Counts kernels that a GPU ran, or operations that a CPU was given."""

    def __init__(self, cuda: bool) -> None:
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        class Count(TorchDispatchMode):
            n = 0

            def __torch_dispatch__(
                self, function: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                Count.n += 1
                return function(*args, **(kwargs or {}))

        self._cuda = cuda
        self._counts = Count
        activities = [torch.profiler.ProfilerActivity.CUDA]
        self._watch = torch.profiler.profile(activities=activities) if cuda else Count()

    def start(self) -> None:
        self._watch.__enter__()

    def stop(self) -> None:
        self._watch.__exit__(None, None, None)

    def total(self) -> int:
        import torch

        if not self._cuda:
            return self._counts.n
        ran = [
            event
            for event in self._watch.events()
            if event.device_type == torch.autograd.DeviceType.CUDA
            and not event.name.startswith(("Memcpy", "Memset"))
            and not getattr(event, "is_user_annotation", False)
        ]
        if not ran:
            raise RuntimeError("the profiler saw no kernel; this machine may not allow it")
        return len(ran)


def peak_flops(device: str) -> tuple[float, str]:
    """Return the dense bf16 FLOP a second of a device, and where that is from."""
    import torch

    if device == "cuda":
        card = torch.cuda.get_device_name()
        for part, flops in PEAK_FLOPS.items():
            if part in card:
                return flops, f"as stated for {part}"
    return product_flops(device), "best of some bf16 matrix products"


def product_flops(device: str) -> float:
    """Return the FLOP a second (a CPU second on a CPU) of the best of some bf16 products."""
    import torch

    cuda = device == "cuda"
    size = 8192 if cuda else 2048
    a, b = torch.randn(2, size, size, device=device).to(torch.bfloat16)
    seconds = []
    for _ in range(10 if cuda else 6):
        if cuda:
            torch.cuda.synchronize()
        start = time.perf_counter() if cuda else time.process_time()
        a @ b
        if cuda:
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() if cuda else time.process_time()) - start)
    return 2 * size**3 / min(seconds)
