"""Log probabilities of the reference, computed once and kept from run to run.

They depend on the tokens of the pairs (hence on data, template and tokenizer), on where answers are
cut, and on the reference: its weights and what its config makes of them. The key is a hash of all
that, of the weights as they are in memory and not of their name: a model that was changed since
never finds the values of the old one.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from ifllm_hf.errors import OutputError
from ifllm_hf.files import cache_folder, digest, whole_file

logger = logging.getLogger(__name__)
LogProbs = npt.NDArray[np.float64]
_SIDES = ("prompt_ids", "chosen_ids", "rejected_ids")
_WORDS = 1 << 16
# Settings of a config that change no log probability.
_CHANGES_NOTHING = {
    *("_name_or_path", "name_or_path", "base_model_name_or_path", "revision"),
    *("transformers_version", "peft_version", "architectures", "auto_map", "auto_mapping"),
    *("dtype", "torch_dtype"),  # that of each weight counts
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states"),
    *("id2label", "label2id", "problem_type", "task_type", "inference_mode"),
    *("pad_token_id", "bos_token_id", "eos_token_id", "initializer_range", "init_lora_weights"),
}


def reference_identity(model: torch.nn.Module, adapter: str | None) -> str:
    """Return a hash of the function that a model is when `adapter` is active (None: no adapter).

    It is a hash of the config (of the model and of the adapter), and of all weights, each with its
    place: rows that change places are another function, and so is a head that is negated. Weights
    are reduced on their own device, one number for 65,536 words of 32 bits.
    """
    of_all = hashlib.sha256()
    adapters = getattr(model, "peft_config", {})
    configs = {"model": getattr(model, "config", None), "adapter": adapters.get(adapter)}
    for part, config in configs.items():
        if config is not None:
            of_all.update(f"{part} {_canonical(config.to_dict())}\n".encode())
    # With the parameters themselves, as ZeRO-3 keeps what this process has beside an empty one.
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        if any(f".{other}." in f".{name}." for other in adapters if other != adapter):
            continue
        of_all.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        local = getattr(tensor, "ds_tensor", tensor).detach()
        for values in _hashes(local.to_local() if hasattr(local, "to_local") else local):
            of_all.update(values.cpu().numpy().tobytes())
    return of_all.hexdigest()


def _canonical(settings: dict[str, Any]) -> str:
    """Return what a config says of the function, in one spelling."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): kept(v) for k, v in value.items() if k not in _CHANGES_NOTHING}
        if isinstance(value, (set, frozenset)):
            return sorted(map(str, value))
        return value

    return json.dumps(kept(settings), sort_keys=True, default=str)


@cache
def _factors(device: torch.device) -> torch.Tensor:
    """Return the factor of each place of a row, shape (65536,): always the same, and random."""
    random = hashlib.shake_256(b"ifllm reference").digest(8 * _WORDS)
    return torch.frombuffer(bytearray(random), dtype=torch.int64).to(device)


def _hashes(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield one number for each row of 65,536 words: the sum of words times factors, modulo 2^64.

    Two different rows have the same sum with a probability of at most 2^-32 over the factors
    (multilinear hashing, https://arxiv.org/abs/1202.4961), whatever differs and however much.
    """
    flat = tensor.contiguous().view(-1)
    if flat.storage_offset() * flat.element_size() % 4:
        flat = flat.clone()  # words begin at words
    size = flat.numel() * flat.element_size()
    word = torch.uint8 if size % 2 else torch.int16 if size % 4 else torch.int32
    words, factors = flat.view(word), _factors(tensor.device)
    # Products are as wide as the factors: 2 MB that stay in a core's cache, or 128 MB on a GPU.
    rows = 4 if tensor.device.type == "cpu" else 256
    whole = len(words) // _WORDS * _WORDS
    for part in torch.split(words[:whole].view(-1, _WORDS), rows):
        yield (part * factors).sum(dim=1)
    rest = words[whole:]
    yield (rest * factors[: len(rest)]).sum().view(1)


def identity_of_all(parts: list[str]) -> str:
    """Return one identity for what several processes hold: that of each where all hold the same."""
    return parts[0] if len(set(parts)) == 1 else digest(parts)


def reference_key(dataset: Dataset, reference: str, max_length: int | None) -> str:
    """Return the key of the log probabilities of one dataset under one reference."""
    of_all = hashlib.sha256(f"{reference} {max_length}\n".encode())
    for side in _SIDES:
        for ids in dataset[side]:
            of_all.update(np.asarray([len(ids), *ids], dtype=np.int64).tobytes())
    return of_all.hexdigest()[:32]


def file_of(key: str) -> Path:
    """Return where the values of a key are kept, or would be."""
    return cache_folder() / "reference" / f"{key}.npy"


def load(key: str) -> LogProbs | None:
    """Return the kept values, shape (pairs, 2), or None."""
    file = file_of(key)
    try:
        found: LogProbs = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        logger.warning("%s cannot be read (%s); its values are computed again", file, error)
        return None
    return found


def save(key: str, values: LogProbs) -> None:
    """Keep values of shape (pairs, 2); a full disk costs the cache and not the run."""
    try:
        with whole_file(file_of(key)) as aside, aside.open("wb") as file:
            np.save(file, values, allow_pickle=False)
    except OutputError as error:
        logger.warning("log probabilities of the reference are not kept for later runs: %s", error)


def row_lengths(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the tokens of each prompt with its longer answer."""
    sides = zip(*(dataset[side] for side in _SIDES), strict=True)
    return np.array([len(prompt) + max(map(len, answers)) for prompt, *answers in sides])


def longest_first(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return an order of the rows in which those of one batch are about equally long."""
    return np.argsort(-lengths, kind="stable")
