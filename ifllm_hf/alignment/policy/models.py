"""The models of a run against a reference: the policy, from an earlier adapter or not, and that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.alignment.policy.load import load_model, weights_in_words
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.run_record import public_name


@dataclass
class Policy:
    """What the trainer needs to know about the models of a run.

    Attributes:
        model: The policy, with the adapter of the earlier stage when there is one.
        ref_model: A second model as reference, or None when switching adapters gives it.
        peft_config: The new adapter, or None.
        weights: What is trained on what, in words.
        reference: What the reference is, in words.
    """

    model: Any
    ref_model: Any
    peft_config: Any
    weights: str
    reference: str


def load_policy(path: str, policy: PolicyConfig, training: Any) -> Policy:
    """Load the policy and, where switching an adapter off does not give it, the reference.

    Args:
        path: Where the weights are (`policy.model_name_or_path`, or a tiny model's folder).
        policy: What to train.
        training: How, of DPO or KTO; `training.reference` names the reference.

    Returns:
        The models of the run.

    Raises:
        ConfigError: `reference_model` together with `reference: start`.
    """
    from trl import get_peft_config

    if policy.reference_model and training.reference == "start":
        raise ConfigError(
            "reference_model is set but reference is 'start', which is the policy itself; set "
            "reference: base, or remove reference_model"
        )
    model = load_model(path, policy, training)
    weights = weights_in_words(policy)
    ref_model = None
    reference = "the policy before the first step"
    if policy.sft_adapter:
        model = _with_adapter(model, policy)
        weights = f"{weights}, continuing the adapter {public_name(policy.sft_adapter)}"
        reference = "a frozen copy of the adapter that training continues"
    if training.reference == "base":
        reference = "the base model with no adapter"
    if training.reference == "base" and (policy.reference_model or policy.method == "full"):
        ref_path = policy.reference_model or path
        ref_model = load_model(ref_path, policy, training)
        reference = f"{public_name(ref_path) if policy.reference_model else 'the base model'}"
    elif policy.method == "full" and not training.precompute_ref_log_probs:
        ref_model = load_model(path, policy, training)
    return Policy(
        model=model,
        ref_model=ref_model,
        peft_config=None if policy.sft_adapter else get_peft_config(policy),
        weights=weights,
        reference=reference,
    )


def _with_adapter(model: Any, policy: PolicyConfig) -> Any:
    """Load the adapter to be trained on; the trainer adds the frozen copy (never merged)."""
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(policy.sft_adapter), is_trainable=True)
