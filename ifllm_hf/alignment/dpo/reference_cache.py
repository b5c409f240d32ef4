"""Log probabilities of the reference, computed once and kept from run to run.

They depend on the tokens of the pairs (hence on data, template and tokenizer), on where answers are
cut, and on the weights of the reference. The key is a hash of these, of the weights as they are in
memory and not of their name: a model that was changed since never finds the values of the old one.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

from ifllm_hf.errors import OutputError
from ifllm_hf.files import cache_folder, whole_file

logger = logging.getLogger(__name__)
LogProbs = npt.NDArray[np.float32]
_SIDES = ("prompt_ids", "chosen_ids", "rejected_ids")


def weights_identity(model: torch.nn.Module, adapter: str | None) -> str:
    """Return a hash of the weights that speak when `adapter` is active (None: no adapter).

    Each tensor is reduced on its own device (`torch.hash_tensor`), so that 4 billion weights take
    well under a second on a GPU and are never copied.
    """
    digest = hashlib.sha256()
    adapters = getattr(model, "peft_config", {})
    for name, tensor in sorted(model.state_dict().items()):
        if any(f".{other}." in f".{name}." for other in adapters if other != adapter):
            continue
        local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
        bits = local.detach().contiguous().view(-1)
        whole = bits.numel() * bits.element_size() % 8 == 0
        bits = bits.view(torch.int64 if whole else torch.uint8)
        value = torch.hash_tensor(bits).item() if bits.numel() else 0
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {value}\n".encode())
    return digest.hexdigest()


def reference_key(dataset: Dataset, weights: str, max_length: int | None) -> str:
    """Return the key of the log probabilities of one dataset under one reference."""
    digest = hashlib.sha256(f"{weights} {max_length}\n".encode())
    for side in _SIDES:
        for ids in dataset[side]:
            digest.update(np.asarray([len(ids), *ids], dtype=np.int64).tobytes())
    return digest.hexdigest()[:32]


def _file(key: str) -> Path:
    return cache_folder() / "reference" / f"{key}.npy"


def load(key: str) -> LogProbs | None:
    """Return the kept values, shape (pairs, 2), or None."""
    file = _file(key)
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
        with whole_file(_file(key)) as aside, aside.open("wb") as file:
            np.save(file, values.astype(np.float32), allow_pickle=False)
    except OutputError as error:
        logger.warning("log probabilities of the reference are not kept for later runs: %s", error)


def row_lengths(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the tokens of each prompt with its longer answer."""
    sides = zip(*(dataset[side] for side in _SIDES), strict=True)
    return np.array([len(prompt) + max(map(len, answers)) for prompt, *answers in sides])


def longest_first(dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return an order of the rows in which those of one batch are about equally long."""
    return np.argsort(-row_lengths(dataset), kind="stable")
