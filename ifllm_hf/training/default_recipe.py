"""Which recipe runs where none was named: the smallest model that fits the GPU, else the dry run.

What a model needs stands in the head of its YAML, and there alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ifllm_hf.training.device import Device
from ifllm_hf.training.settings_file import read_yaml

_NEEDS = re.compile(r"^#\s+(?:QLoRA|All weights): ([\d.]+) GB", re.MULTILINE)
_DOWNLOAD = re.compile(r"^#\s+Download: .* = ([\d.]+) GB", re.MULTILINE)


@dataclass(frozen=True)
class Offer:
    """A recipe for a real model, and what it needs.

    Attributes:
        file: The YAML.
        model: The model on the Hub.
        memory_gb: Of the GPU.
        download_gb: Of the weights.
    """

    file: Path
    model: str
    memory_gb: float
    download_gb: float


@dataclass(frozen=True)
class Chosen:
    """The recipe that runs.

    Attributes:
        file: The YAML.
        said: Which, and why.
    """

    file: Path
    said: str


def choose_recipe(
    device: Device, offers: Sequence[Offer], smoke: Path, can_be_had: Callable[[str], bool]
) -> Chosen:
    """Choose the smallest model that fits the device and can be had, else the dry run.

    Of two that need the same memory, the one that is less to download.

    Args:
        device: What the run could use.
        offers: Recipes of real models.
        smoke: The recipe of the dry run.
        can_be_had: Tells whether the weights of a model can be loaded; asked of as few as possible.
    """
    dry = f"{smoke.name}, the dry run on a tiny random model, on the CPU"
    if not device.cuda:
        return Chosen(smoke, f"no GPU found: {dry}")
    here = f"{device.name}, {device.free_gb:.1f} GB free"
    if not device.bf16:
        return Chosen(smoke, f"{here}, without the bfloat16 that real models train in: {dry}")
    by_size = sorted(offers, key=lambda offer: (offer.memory_gb, offer.download_gb))
    fitting = [offer for offer in by_size if offer.memory_gb <= device.free_gb]
    if not fitting:
        least = by_size[0]
        return Chosen(smoke, f"{here}, and {least.model} needs {least.memory_gb:.1f} GB: {dry}")
    for offer in fitting:
        if can_be_had(offer.model):
            return Chosen(
                offer.file,
                f"{here}: {offer.file.name}, which is {offer.model}, needs {offer.memory_gb:.1f} "
                f"GB; its weights are {offer.download_gb:.1f} GB, downloaded once",
            )
    names = ", ".join(offer.model for offer in fitting)
    return Chosen(smoke, f"{here}, but the Hub gives no weights ({names}): {dry}")


def has_offer(file: Path) -> bool:
    """Whether a recipe says what it needs: those of real models do."""
    return _DOWNLOAD.search(file.read_text(encoding="utf-8")) is not None


def read_offer(file: Path) -> Offer:
    """Read what a recipe needs from the head of its YAML."""
    text = file.read_text(encoding="utf-8")
    memory, download = _NEEDS.search(text), _DOWNLOAD.search(text)
    assert memory and download, f"{file}: its head names no memory or no download"
    model = str(read_yaml(file)["model_name_or_path"])
    return Offer(file, model, float(memory[1]), float(download[1]))


class Weights:
    """Tells whether the weights of a model on the Hub can be loaded here."""

    def __init__(self) -> None:
        """Assume that there is a network until it is seen that there is none."""
        self._online = True

    def can_be_had(self, model: str) -> bool:
        """Tell whether they lie in the cache, or the Hub would give them to this machine."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
        from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

        if _is_cached(model):
            return True
        if not self._online:
            return False
        try:
            HfApi().auth_check(model)
        except (GatedRepoError, RepositoryNotFoundError):
            return False
        except (httpx.HTTPError, OSError, ValueError):  # no network, or it is forbidden
            self._online = False
            return False
        return True


def _is_cached(model: str) -> bool:
    """Tell whether all files of the weights are in the cache."""
    from huggingface_hub import try_to_load_from_cache

    def place(name: str) -> str | None:
        found = try_to_load_from_cache(model, name)
        return found if isinstance(found, str) else None

    index = place("model.safetensors.index.json")
    if index is None:
        return place("model.safetensors") is not None
    parts = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()
    return all(place(part) is not None for part in set(parts))
