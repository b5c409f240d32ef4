"""IFLLM for Hugging Face: how people read two answers, as preference signal.

`import ifllm_hf` costs nothing: it makes `load_dataset("ifllm")` work once `datasets` is loaded
(before or after), and resolves the public names below on first use.

The rooms, in the order in which data flows: `ifllm_hf.data`, `ifllm_hf.behavior`,
`ifllm_hf.reward`, `ifllm_hf.alignment`; beside them `ifllm_hf.benchmark`, `ifllm_hf.plot`,
`ifllm_hf.metrics`, `ifllm_hf.hub`.
"""

from __future__ import annotations

from typing import Any

from ifllm_hf import _registration
from ifllm_hf.version import __version__ as __version__

# Public name -> the module that defines it; imported when somebody asks for the name.
_EXPORTS = {
    "IFLLMConfig": "ifllm_hf.reward.model.configuration_ifllm",
    "IFLLMError": "ifllm_hf.errors",
    "IFLLMFeatureExtractor": "ifllm_hf.reward.model.feature_extraction_ifllm",
    "IFLLMForRewardModeling": "ifllm_hf.reward.model.modeling_ifllm",
    "IFLLMModel": "ifllm_hf.reward.model.modeling_ifllm",
    "IFLLMProcessor": "ifllm_hf.reward.model.processing_ifllm",
    "ImplicitRewardPipeline": "ifllm_hf.reward.model.pipeline_ifllm",
    "explain": "ifllm_hf.reward.explain.gradients",
    "explain_evidence": "ifllm_hf.reward.explain.evidence_parts",
    "pretrained": "ifllm_hf.reward.pretrained.shipped",
    "push_dataset": "ifllm_hf.hub.publish.dataset",
    "reward_func": "ifllm_hf.reward.scoring.reward_func",
    "ticks_to_numpy": "ifllm_hf.data.ticks.tick_arrays",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})


_registration.register()
