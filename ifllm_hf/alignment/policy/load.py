"""Load the policy, the adapter of an earlier stage and the reference model that was named."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.run_record import public_name
from ifllm_hf.training.tiny_models import TINY_PREFIX

if TYPE_CHECKING:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig, PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig

logger = logging.getLogger(__name__)


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


def check_access(model: str) -> None:
    """Refuse a Hub model that cannot be downloaded, before anything is.

    Raises:
        ConfigError: The model is gated and there is no token with access, or it does not exist, or
            the Hub cannot be reached and nothing is cached.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    if model.startswith(TINY_PREFIX) or Path(model).is_dir():
        return
    if model.startswith((os.sep, ".", "~")) or model.count("/") > 1:  # a Hub name has one slash
        raise ConfigError(f"{model}: no such folder; name a folder with a model, or one on the Hub")
    if isinstance(try_to_load_from_cache(model, "config.json"), str):
        return
    try:
        HfApi().auth_check(model)
    except GatedRepoError as error:
        raise ConfigError(
            f"{model} is gated and this machine has no token with access; accept its licence at "
            f"https://huggingface.co/{model}, then run 'hf auth login' or set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{model}: no such model on the Hub, or a private one; check the name, or run "
            "'hf auth login'"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ConfigError(
            f"{model} is not in the local cache and the Hub cannot be asked for it ({error}); "
            f"check the network, name a local folder, or dry-run with {TINY_PREFIX}llama"
        ) from error
    except Exception as error:  # httpx errors have no common base with the Hub's own
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2"):
            raise
        raise ConfigError(
            f"{model} is not in the local cache and the Hub cannot be reached ({error}); check the "
            f"network, name a local folder, or dry-run with {TINY_PREFIX}llama"
        ) from error


def load_tokenizer(path: str, policy: PolicyConfig, eos_token: str | None, chat: bool) -> Any:
    """Load the tokenizer; `eos_token` replaces its end of text, for templates that end a turn.

    Raises:
        ConfigError: The token is not in the vocabulary, or there is no chat template to use.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, revision=_revision(path, policy))
    if eos_token is not None:
        if eos_token not in tokenizer.get_vocab():
            raise ConfigError(
                f"eos_token is {eos_token!r}, which {policy.model_name_or_path} does not have; "
                "remove it or name a token of its vocabulary"
            )
        tokenizer.eos_token = eos_token
    if chat and tokenizer.chat_template is None:
        raise ConfigError(
            f"prompt_format is chat, but {policy.model_name_or_path} has no chat template; use "
            "prompt_format: template"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_length(path: str, policy: PolicyConfig, max_length: int | None) -> None:
    """Refuse a `max_length` beyond the positions of the model, before its weights are loaded."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(path, revision=_revision(path, policy))
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and (max_length is None or max_length > positions):
        raise ConfigError(
            f"max_length is {max_length}, but {policy.model_name_or_path} has {positions} "
            f"positions; set max_length to {positions} or less"
        )


def load_policy(path: str, policy: PolicyConfig, training: PairDPOConfig) -> Policy:
    """Load the policy and, where switching an adapter off does not give it, the reference.

    Args:
        path: Where the weights are (`policy.model_name_or_path`, or a tiny model's folder).
        policy: What to train.
        training: How; `training.reference` names the reference.

    Returns:
        The models of the run.

    Raises:
        ConfigError: `reference_model` together with `reference: start`, or an unusable adapter.
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


def _revision(path: str, policy: PolicyConfig) -> str | None:
    return policy.model_revision if path == policy.model_name_or_path else None


def weights_in_words(policy: PolicyConfig) -> str:
    """Say what is trained on what."""
    return {
        "qlora": f"LoRA (r {policy.lora_r}) on NF4 weights"
        + (", double quantisation" if policy.use_bnb_nested_quant else "")
        + f", {policy.dtype} compute",
        "lora": f"LoRA (r {policy.lora_r}) on {policy.dtype} weights",
        "full": f"all weights in {policy.dtype}",
    }[policy.method]


def load_model(path: str, policy: PolicyConfig, training: PairDPOConfig | PairSFTConfig) -> Any:
    """Load the weights as `policy.method` and `policy.dtype` say, each process on its device."""
    from trl import get_quantization_config
    from trl.trainer.utils import create_model_from_path

    options: dict[str, Any] = {
        "dtype": policy.dtype,
        "attn_implementation": policy.attn_implementation,
        "trust_remote_code": training.trust_remote_code,
        # None: the current device of each rank; "auto" would spread one model over all GPUs.
        "device_map": None,
    }
    if revision := _revision(path, policy):
        options["revision"] = revision
    if (quantization := get_quantization_config(policy)) is not None:
        options["quantization_config"] = quantization
    if training.model_init_kwargs:
        options.update(training.model_init_kwargs)
    model = create_model_from_path(path, **options)
    if policy.use_peft:
        _check_targets(model, policy)
    return model


def _check_targets(model: Any, policy: PolicyConfig) -> None:
    """Refuse names of layers that the model does not have; PEFT refuses only if none is there."""
    targets = policy.lora_target_modules
    if not isinstance(targets, list) or targets == ["all-linear"]:
        return
    layers = {
        name: type(part).__name__ for name, part in model.named_modules() if hasattr(part, "weight")
    }
    missing = [
        t for t in targets if not any(name == t or name.endswith(f".{t}") for name in layers)
    ]
    if missing:
        there = sorted(
            {
                n.rsplit(".", 1)[-1]
                for n, kind in layers.items()
                if "Linear" in kind or "Conv1D" in kind
            }
        )
        raise ConfigError(
            f"lora_target_modules names {', '.join(missing)}, which {policy.model_name_or_path} "
            f"does not have; it has {', '.join(there)} (or set all-linear)"
        )


def _with_adapter(model: Any, policy: PolicyConfig) -> Any:
    """Load the adapter to be trained on; the trainer adds the frozen copy (never merged)."""
    from peft import PeftModel

    folder = Path(str(policy.sft_adapter))
    if folder.exists() and not (folder / "adapter_config.json").exists():
        raise ConfigError(
            f"sft_adapter {folder}: no adapter_config.json there; name the folder of a LoRA adapter"
        )
    if folder.exists():
        config = json.loads((folder / "adapter_config.json").read_text())
        base = str(config.get("base_model_name_or_path")).rstrip("/").split("/")[-1]
        mine = str(policy.model_name_or_path).rstrip("/").split("/")[-1]
        if base != mine:
            logger.warning(
                "sft_adapter was trained on %s and is loaded onto %s; the margin at step 0 cannot "
                "tell whether that is right",
                base,
                mine,
            )
    return PeftModel.from_pretrained(model, str(policy.sft_adapter), is_trainable=True)
