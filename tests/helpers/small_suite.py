"""A quick benchmark of a few models."""

from __future__ import annotations

from ifllm_hf.benchmark.protocol.suite import Plan

QUICK = {"rows": 2, "conversation": 2, "worker": 2, "future": 1}


def plan(**kwargs) -> Plan:
    return Plan(**{"repeats": QUICK, "draws": 60, "progress": False} | kwargs)
