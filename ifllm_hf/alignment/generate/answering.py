"""What answers: which weights, in which precision, and whether like is compared with like."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.generate.config import AS_TRAINED, ModelSpec, Sampling
from ifllm_hf.alignment.policy.base_weights import has_weights_of
from ifllm_hf.alignment.policy.precision import Precision, read_merge, run_of, trained_precision
from ifllm_hf.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnsweringWeights:
    """The weights that a model answers with.

    Attributes:
        precision: How they are loaded.
        words: What answers, for the report.
        base: What is under an adapter, or was before it was merged.
    """

    precision: Precision
    words: str
    base: Precision


def weights_of(spec: ModelSpec, sampling: Sampling) -> AnsweringWeights:
    """Return what one model answers with, if nothing is compared with it.

    Args:
        spec: The model.
        sampling: Says in `load_in_4bit` and `dtype` what is asked for.

    Raises:
        ConfigError: The model is not the base that the adapter was trained on.
    """
    run = _run_of(spec.adapter) if spec.adapter else None
    if run is not None and has_weights_of(run, str(spec.model)) is False:
        raise ConfigError(
            f"{spec.name}: {spec.model} has other weights than the base that {spec.adapter} was "
            "trained on, by their fingerprint; name that base as model"
        )
    recorded = trained_precision(run)
    precision = recorded or Precision()
    if isinstance(sampling.load_in_4bit, bool):
        precision = replace(precision, in_4bit=sampling.load_in_4bit)
    precision = _computed(precision, sampling)
    if spec.adapter:
        unknown = "" if recorded else ", which does not say what it was trained on"
        return AnsweringWeights(precision, f"{precision.words} base + adapter{unknown}", precision)
    merge = read_merge(Path(spec.model)) if spec.model and Path(spec.model).is_dir() else None
    if merge is None:
        return AnsweringWeights(precision, f"{precision.words} weights", precision)
    kinds = Precision.__dataclass_fields__
    base = Precision(**{k: v for k, v in merge["trained_on"].items() if k in kinds})
    words = f"merged {precision.words if precision.in_4bit else merge['dtype']}"
    if base.in_4bit:
        words += f" (adapter in dequantised {base.words})"
    return AnsweringWeights(precision, words, base)


def answering_weights(
    baseline: ModelSpec, candidates: Sequence[ModelSpec], sampling: Sampling
) -> dict[str, AnsweringWeights]:
    """Return what each model of a comparison answers with.

    A baseline that is a base model alone is loaded as the base of the first candidate was: between
    NF4 and 16-bit weights, what quantisation does would be measured too.

    Args:
        baseline: What the candidates started from.
        candidates: The others.
        sampling: Says in `load_in_4bit` and `dtype` what is asked for.

    Returns:
        By name; models with ready answers are left out.
    """
    asked = [spec for spec in (baseline, *candidates) if spec.answers is None]
    found = {spec.name: weights_of(spec, sampling) for spec in asked}
    first = next((found[s.name] for s in candidates if s.name in found), None)
    own = found.get(baseline.name)
    if sampling.load_in_4bit == AS_TRAINED and own is not None and first is not None:
        bare = baseline.adapter is None and own.base is own.precision  # and nothing merged
        if bare and first.base.in_4bit:
            precision = _computed(first.base, sampling)
            found[baseline.name] = AnsweringWeights(
                precision, f"{precision.words} weights", precision
            )
    return found


def are_alike(one: AnsweringWeights | None, other: AnsweringWeights | None) -> bool:
    """Tell whether two models differ in training alone, not in quantisation too.

    Args:
        one: What answers; None: ready answers, of which nothing is known.
        other: Likewise.
    """
    return one is None or other is None or one.base.in_4bit == other.base.in_4bit


def _computed(precision: Precision, sampling: Sampling) -> Precision:
    """Fill in the dtype: the one asked for; of 4-bit weights training's; else the device's."""
    import torch

    by_device = "bfloat16" if torch.cuda.is_available() else "float32"
    trained = precision.dtype if precision.in_4bit else None
    return replace(precision, dtype=sampling.dtype or trained or by_device)


def _run_of(adapter: str) -> dict[str, Any] | None:
    """Return the record of the run that made an adapter, None if there is none."""
    if Path(adapter).is_dir():
        return run_of(Path(adapter))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    from ifllm_hf.training.run_record import RUN_FILE

    try:
        return run_of(Path(hf_hub_download(adapter, RUN_FILE)).parent)
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.RequestError, OSError, ValueError) as e:
        logger.warning("%s: no %s there (%s)", adapter, RUN_FILE, type(e).__name__)
        return None
