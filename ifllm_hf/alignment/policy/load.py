"""Load language models and their tokenizers: the policy that is trained, and what it became."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.four_bit import keep_unpacked
from ifllm_hf.training.pretrained import loading, positions
from ifllm_hf.training.run_record import public_name
from ifllm_hf.training.tiny_models import TINY_PREFIX

if TYPE_CHECKING:
    import torch
    from trl import DPOConfig, KTOConfig, SFTConfig

    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.precision import Precision


_MODEL_FILES = ("config.json", "adapter_config.json")


def check_access(model: str) -> None:
    """Refuse a Hub model that cannot be downloaded, before anything is.

    Raises:
        ConfigError: The model is gated and there is no token with access, or it does not exist, or
            the Hub cannot be reached and nothing is cached.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    if model.startswith(TINY_PREFIX):
        return
    if Path(model).is_dir():
        if not any((Path(model) / name).is_file() for name in _MODEL_FILES):
            raise ConfigError(
                f"{model}: a folder without {' or '.join(_MODEL_FILES)}; name one that holds a "
                "model, or a model on the Hub"
            )
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
    except (HfHubHTTPError, httpx.RequestError, OSError, ValueError) as error:
        how = "reached" if isinstance(error, httpx.RequestError) else "asked for it"
        raise ConfigError(
            f"{model} is not in the local cache and the Hub cannot be {how} ({error}); "
            f"check the network, name a local folder, or dry-run with {TINY_PREFIX}llama"
        ) from error


def weights_id(place: str | None) -> str | None:
    """Name weights by their content: the hash of an adapter or small model, else size and time.

    A model on the Hub is named by its name alone.
    """
    if place is None or not Path(place).is_dir():
        return place
    files = [f for f in sorted(Path(place).glob("*")) if f.suffix in (".safetensors", ".bin")]
    if not files:
        raise ConfigError(
            f"{place}: no weights (.safetensors) there; name a folder that training has finished"
        )
    # Finished runs of a pipeline are found by this value: it must not change.
    content = hashlib.sha256()
    for file in files:
        stat = file.stat()
        content.update(file.name.encode())
        if stat.st_size < 1 << 30:
            content.update(file.read_bytes())
        else:
            content.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return f"{public_name(place)} {content.hexdigest()[:16]}"


def load_tokenizer(
    path: str,
    eos_token: str | None,
    *,
    of: str,
    setting: str = "eos_token",
    revision: str | None = None,
    writes: bool = True,
    trust_remote_code: bool = False,
    trusted_by: str = "trust_remote_code",
) -> Any:
    """Load a tokenizer that can pad.

    Args:
        path: Where it is.
        eos_token: Replaces its end of text, for templates that end a turn.
        of: The model, for messages.
        setting: The name of `eos_token` where it was given.
        revision: On the Hub.
        writes: Whether the model writes answers, which must end.
        trust_remote_code: Whether code that lies beside it may run.
        trusted_by: The name of `trust_remote_code` where it was given.

    Raises:
        ConfigError: The token is not in the vocabulary, no answer would end, or the code is not
            trusted.
    """
    from transformers import AutoTokenizer

    with loading(of, trust_remote_code=trust_remote_code, setting=trusted_by) as options:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, **options)
    if eos_token is not None:
        if eos_token not in tokenizer.get_vocab():
            raise ConfigError(
                f"{setting} is {eos_token!r}, which {of} does not have; remove it or name a token "
                "of its vocabulary"
            )
        tokenizer.eos_token = eos_token
    if writes and tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of {of} has no token that ends a text, and no answer would end; set "
            f"{setting} to one of its vocabulary"
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ConfigError(
                f"the tokenizer of {of} can neither pad nor end a text; set pad_token in its "
                "tokenizer_config.json"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_length(
    path: str, policy: PolicyConfig, max_length: int | None, *, trust_remote_code: bool = False
) -> None:
    """Refuse a `max_length` beyond the positions of the model, before its weights are loaded.

    Raises:
        ConfigError: It is beyond them, or the model's own code is not trusted.
    """
    from transformers import AutoConfig

    name = str(policy.model_name_or_path)
    with loading(name, trust_remote_code=trust_remote_code) as options:
        config = AutoConfig.from_pretrained(path, revision=revision_of(path, policy), **options)
    room = positions(config, trust_remote_code=trust_remote_code)
    if room is not None and (max_length is None or max_length > room):
        raise ConfigError(
            f"max_length is {max_length}, but {name} has {room} positions; set max_length to "
            f"{room} or less"
        )


def revision_of(path: str, policy: PolicyConfig) -> str | None:
    """Return the revision to load, None where `path` is not the model that it belongs to."""
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


def load_model(path: str, policy: PolicyConfig, training: DPOConfig | KTOConfig | SFTConfig) -> Any:
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
    if revision := revision_of(path, policy):
        options["revision"] = revision
    if (quantization := get_quantization_config(policy)) is not None:
        options["quantization_config"] = quantization
    if training.model_init_kwargs:
        options.update(training.model_init_kwargs)
    model = create_model_from_path(path, **options)
    keep_unpacked(model)  # a folder may hold 4-bit weights whatever the method
    if policy.use_peft:
        _check_targets(model, policy)
    return model


def load_in_precision(
    name: str,
    precision: Precision,
    device: torch.device,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    trusted_by: str = "generation.trust_remote_code",
) -> Any:
    """Load weights to compute with: 4-bit as QLoRA has them, or in one dtype.

    Args:
        name: A folder, or a model on the Hub.
        precision: How they are loaded.
        device: Where they go.
        revision: On the Hub.
        trust_remote_code: Whether code that lies beside them may run.
        trusted_by: The name of `trust_remote_code` where it was given.

    Raises:
        ConfigError: They cannot be loaded.
    """
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {
        "dtype": precision.dtype or "auto",
        "device_map": {"": device.type},
        "revision": revision,
    }
    if (quantization := precision.quantization()) is not None:
        options["quantization_config"] = quantization
    try:
        with loading(name, trust_remote_code=trust_remote_code, setting=trusted_by) as trusted:
            model = AutoModelForCausalLM.from_pretrained(name, **options, **trusted)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{name}: cannot be loaded ({error}); check the name and the settings"
        ) from error
    keep_unpacked(model)  # what is computed with is what was trained, to the last scale
    return model


def put_adapter(model: Any, place: str, *, name: str, base: str) -> Any:
    """Return a loaded model with an adapter on it, to compute with.

    Args:
        model: The base.
        place: Folder of the adapter, or its name on the Hub.
        name: Of the adapter, for messages.
        base: Of the base, likewise.

    Raises:
        ConfigError: Some of its weights cannot be read, have no place in the model, or are missing.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Found missing adapter keys")
        # Of Conv1D layers it is known how they lie; a QLoRA run of GPT-2 has seen them turned.
        warnings.filterwarnings("ignore", "fan_in_fan_out is set")
        warnings.filterwarnings("ignore", ".*gradient_checkpointing.*", FutureWarning)
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        try:
            return PeftModel.from_pretrained(model, place).eval()
        except (OSError, RuntimeError, ValueError, UserWarning, SafetensorError) as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(
                f"{name}: does not fit {base} ({said}); copy it anew, or name the base that it was "
                "trained on"
            ) from error


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
