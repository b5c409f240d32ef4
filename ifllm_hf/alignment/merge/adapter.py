"""What an adapter says of itself, where its base is, and whether the two fit."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.policy.adapter_base import (
    ADAPTER_CONFIG,
    adapter_shapes,
    empty_model,
    misfit,
)
from ifllm_hf.alignment.policy.base_weights import has_weights_of
from ifllm_hf.alignment.policy.load import check_access
from ifllm_hf.alignment.policy.precision import Precision, run_of, trained_precision
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import read_json_object
from ifllm_hf.training.run_record import RUN_FILE, public_name
from ifllm_hf.training.tiny_models import TINY_PREFIX

logger = logging.getLogger(__name__)

TRUST = "--trust-remote-code"
_FILES = ("adapter_*", "run.json", "tokenizer*", "*.jinja", "special_tokens_map.json", "*.model")


@dataclass(frozen=True)
class Adapter:
    """An adapter that may be merged.

    Attributes:
        folder: Where it is.
        name: Its public name.
        run: The record of our run that made it, None for adapters of others.
        base: Where its base is: a folder, or a model on the Hub.
        base_name: The public name of the base, as the adapter has it.
        revision: Of the base, on the Hub.
        precision: What it was trained on.
    """

    folder: Path
    name: str
    run: Mapping[str, Any] | None
    base: str
    base_name: str
    revision: str | None
    precision: Precision


def find_adapter(
    place: str, *, base: str | None = None, load_in_4bit: bool | None = None
) -> Adapter:
    """Return what is known of an adapter, and where its base is.

    Args:
        place: Folder of a run, of one of its checkpoints or of any PEFT adapter; or `ORG/NAME`.
        base: Where the base is; default: as the adapter names it, or the tiny model of a dry run.
        load_in_4bit: Whether it was trained on NF4 weights; default: as its `run.json` says, else
            no.

    Raises:
        ConfigError: There is no adapter, or none that can be merged; or its base cannot be had.
    """
    folder = _folder_of(place)
    config = _read_config(folder, place)
    run = run_of(folder)
    if run is not None and (missing := {"settings", "data", "used"} - run.keys()):
        raise ConfigError(
            f"{place}: its {RUN_FILE} is no record of recipes/sft.py, dpo.py or kto.py (it "
            f"has no {', '.join(sorted(missing))}); copy the record of the run, or remove the file"
        )
    recorded = str(config.get("base_model_name_or_path") or "")
    found = base or _base_of(folder, recorded)
    try:
        check_access(found)
    except ConfigError as error:
        if base is not None:
            raise
        raise ConfigError(
            f"{place}: its base, {recorded or 'which it does not name'}, cannot be had ({error}); "
            "say with --base where it is"
        ) from error
    if (Path(found) / ADAPTER_CONFIG).is_file():
        raise ConfigError(f"{found}: is an adapter too; expected the base model of {place}")
    settings = (run or {}).get("settings", {})
    revision = settings.get("model_revision") or config.get("revision")
    return Adapter(
        folder=folder,
        name=str(public_name(place)),
        run=run,
        base=found,
        base_name=recorded
        if recorded.startswith(TINY_PREFIX)
        else str(public_name(recorded or found)),
        # A folder has no revisions, nor has another model than the recorded one this one's.
        revision=None if base or Path(found).is_dir() or revision == "main" else revision,
        precision=_precision(run, load_in_4bit, place),
    )


def check_fit(adapter: Adapter, config: Any, *, trust_remote_code: bool) -> int:
    """Refuse an adapter whose base this is not, before weights are loaded.

    Args:
        adapter: The adapter.
        config: Of the base, as `AutoConfig` reads it.
        trust_remote_code: Whether code that lies beside the base may run.

    Returns:
        Number of weights of the base.

    Raises:
        ConfigError: Names or shapes do not fit, the weights are others than those of the run, or
            the base is stored in less than 16 bit.
    """
    if getattr(config, "quantization_config", None):
        raise ConfigError(
            f"{adapter.base}: its weights are stored quantised, and nothing can be merged into "
            "them; name the model that they were made from with --base"
        )
    model = empty_model(config, trust_remote_code=trust_remote_code)
    if model is None:
        raise ConfigError(
            f"{adapter.base}: no language model can be made of its config "
            f"({type(config).__name__}); say with --base where the base of {adapter.name} is"
        )
    if (wrong := misfit(model, adapter_shapes(adapter.folder))) is not None:
        raise ConfigError(
            f"{adapter.name} was trained on another model than {adapter.base}: {wrong}; "
            f"its base is called {adapter.base_name}, say with --base where it is"
        )
    _check_weights(adapter)
    return sum(p.numel() for p in model.parameters())


def _folder_of(place: str) -> Path:
    folder = Path(place).expanduser()
    if folder.is_dir():
        return folder
    if place.startswith((".", "/", "~")) or place.count("/") != 1:
        raise ConfigError(f"{place}: no such folder; name one that holds an adapter, or ORG/NAME")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(place, allow_patterns=list(_FILES)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"{place}: cannot be downloaded ({error}); check the network") from error


def _read_config(folder: Path, place: str) -> dict[str, Any]:
    """Return `adapter_config.json`, once it is known to be of an adapter that can be merged."""
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        whole = any(folder.glob("*.safetensors")) and (folder / "config.json").is_file()
        raise ConfigError(
            f"{place}: holds a whole model (method: full), so there is nothing to merge; it is "
            "served as it is"
            if whole
            else f"{place}: no {ADAPTER_CONFIG} there; name the folder that training wrote an "
            "adapter into"
        )
    if not any(folder.glob("adapter_model.*")):
        raise ConfigError(f"{place}: no weights of an adapter there (adapter_model.safetensors)")
    config = read_json_object(file)
    task = config.get("task_type")
    if task not in (None, "CAUSAL_LM"):
        raise ConfigError(
            f"{place}: is an adapter for {task}; expected one of a language model (CAUSAL_LM)"
        )
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    kind = str(config.get("peft_type"))
    tuner: Any = {str(k.value): v for k, v in PEFT_TYPE_TO_TUNER_MAPPING.items()}.get(kind)
    if not hasattr(tuner, "merge_and_unload"):
        raise ConfigError(f"{place}: is of kind {kind}, which cannot be merged; serve it as it is")
    return config


def _base_of(folder: Path, recorded: str) -> str:
    """Return where the base is: of a dry run, the tiny model in the folder of the run."""
    if recorded.startswith(TINY_PREFIX):
        for run in (folder, folder.parent):
            if (run / "tiny_model").is_dir():
                return str(run / "tiny_model")
        raise ConfigError(
            f"{folder}: its base is {recorded}, a model of a dry run, but there is no tiny_model "
            "beside it; copy the whole folder, or say with --base where it is"
        )
    if not recorded:
        raise ConfigError(f"{folder}: does not name its base; say with --base where it is")
    return recorded


def _precision(run: Mapping[str, Any] | None, load_in_4bit: bool | None, place: str) -> Precision:
    trained = trained_precision(run)
    if trained is None:
        return Precision(True, "bfloat16") if load_in_4bit else Precision()
    if load_in_4bit is not None and load_in_4bit != trained.in_4bit:
        raise ConfigError(
            f"{place}: its run.json says that it was trained on {trained.words} weights; leave "
            "--load-in-4bit out"
        )
    return trained


def _check_weights(adapter: Adapter) -> None:
    """Compare the base with the one of the run: by its weights, else by its name."""
    same = has_weights_of(adapter.run, adapter.base, adapter.revision)
    if same is False:
        raise ConfigError(
            f"{adapter.base}: has other weights than the base that {adapter.name} was trained on "
            f"({adapter.base_name}), by their fingerprint; say with --base where that is"
        )
    mine, theirs = (n.rstrip("/").split("/")[-1] for n in (adapter.base, adapter.base_name))
    if same is None and mine != theirs and not adapter.base_name.startswith(TINY_PREFIX):
        logger.warning(
            "%s was trained on %s and is merged into %s: shapes fit, and nothing else can be told",
            adapter.name,
            adapter.base_name,
            adapter.base,
        )


def bytes_needed(n_weights: int, dtype: str) -> int:
    """Return the size of a saved model, with room for its tokenizer."""
    return math.ceil(n_weights * (4 if dtype == "float32" else 2)) + (32 << 20)
