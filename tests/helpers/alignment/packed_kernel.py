"""bitsandbytes' 4-bit kernel for inference on a CPU: the processor's own, or a stand-in for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

KERNELS = ("this processor's", "stand-in")


def use_kernel(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make forwards in evaluation mode repack 4-bit weights, as on a CPU with AVX512-BF16.

    The stand-in repacks by bitsandbytes' own code, which runs anywhere, and multiplies without a
    gradient, as the kernel does. Call it before anything is loaded.
    """
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from bitsandbytes import functional
    from bitsandbytes.nn import modules

    if which == KERNELS[0]:
        if not functional.has_avx512bf16():
            pytest.skip("this processor has no AVX512-BF16: only the stand-in runs")
        return
    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)

    @torch.no_grad()
    def multiply(inputs: Any, packed: Any, out: Any = None, state: Any = None) -> Any:
        n, k = state.shape
        pairs = packed.view(n // 32, k // 2, 32)
        values = torch.stack([pairs & 0xF, pairs >> 4])  # low: the first 32 of 64, high: the others
        values = values.permute(1, 2, 0, 3).reshape(n // 32, k // 2, 64)
        values = values.reshape(n // 32, k // 2, 32, 2).transpose(1, 2).reshape(n, k)
        scale = state.absmax.T.float().repeat_interleave(state.blocksize, dim=1)
        weight = state.code[values.int()] * scale
        return torch.nn.functional.linear(inputs.float(), weight).to(inputs.dtype)

    monkeypatch.setattr(bitsandbytes.functional, "gemv_4bit", multiply)
