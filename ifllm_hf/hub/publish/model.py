"""Puts a reward model on the Hub in one commit: weights, processor, code, card, held-out score."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ifllm_hf.errors import TableError
from ifllm_hf.hub.cards.eval_results import EVAL_RESULTS_FILE, eval_results
from ifllm_hf.hub.cards.model_card import BENCHMARK_FILE, model_card
from ifllm_hf.hub_errors import check_repo_id, hub_errors
from ifllm_hf.reward.pretrained.heads import READERS_FILE
from ifllm_hf.training.run_record import RUN_FILE, read_run

_CONFIG = "config.json"
_PROCESSOR = "processor_config.json"
_REWRITTEN = (_CONFIG, _PROCESSOR, "tokenizer_config.json", RUN_FILE)
_UPLOADED = (
    *("*.safetensors", "*.safetensors.index.json", "tokenizer*", "special_tokens_map.json"),
    *("vocab*", "merges.txt", "added_tokens.json", "*.model", "chat_template.jinja"),
    *(_CONFIG, _PROCESSOR, RUN_FILE, BENCHMARK_FILE, READERS_FILE),
)
"""Everything else in the folder (checkpoints, optimizer states, logs) stays at home."""


def push_model(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    message: str = "Upload the IFLLM reward model",
    evaluated_on: str | None = None,
) -> str:
    """Upload a saved reward model to a model repository, in one commit.

    With it goes the code that others need to load it without this package
    (`trust_remote_code=True`). Local paths are taken out of its settings. Files of an older upload
    that are not part of this one are deleted in the same commit.

    Args:
        folder: Model and processor, as `save_pretrained` wrote them; `run.json` and
            `benchmark.json` beside them go into the card, and the score of readers whom the run
            held out into `.eval_results/`.
        repo_id: `ORG/NAME`.
        private: For a new repository: hide it. Default: what the account or organisation says.
        message: Of the commit.
        evaluated_on: `ORG/NAME` of the dataset of the held-out readers, where the run read a copy.

    Returns:
        The web address of the repository.

    Raises:
        TableError: `folder` does not hold a complete reward model.
        DataError: Model and processor do not belong together.
        ConfigError: `repo_id` is no `ORG/NAME`, or see `eval_results`.
        OutputError: No token, no permission, or no network.
    """
    check_repo_id(repo_id)
    place = Path(folder)
    config = _read_model_config(place)
    files = model_files(place, repo_id, config, evaluated_on)
    with hub_errors(repo_id):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi(library_name="ifllm_hf")
        url = api.create_repo(repo_id, repo_type="model", private=private, exist_ok=True)
        old = set(api.list_repo_files(repo_id)) - {".gitattributes"} - set(files)
        api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in sorted(files.items())),
                *(CommitOperationDelete(name) for name in sorted(old)),
            ],
            commit_message=message,
        )
    return str(url)


def model_files(
    folder: Path, repo_id: str, config: dict[str, Any], evaluated_on: str | None = None
) -> dict[str, Path | bytes]:
    """Return what is uploaded: a file of the folder, or its new content, by name.

    Args:
        folder: The saved model.
        repo_id: For the card.
        config: Its `config.json`.
        evaluated_on: See `push_model`.
    """
    files: dict[str, Path | bytes] = {}
    for pattern in _UPLOADED:
        files |= {file.name: file for file in folder.glob(pattern) if file.is_file()}
    files |= {file.name: file for file in _code()}
    for name in _REWRITTEN:
        if name in files:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            files[name] = _json(_without_local_paths(content))
    public = _without_local_paths(config)
    files[_CONFIG] = _json({**public, **_AUTO})
    files["README.md"] = model_card(folder, repo_id, public).encode()
    results = eval_results(read_run(folder) or {}, repo_id, evaluated_on)
    if results is not None:
        files[EVAL_RESULTS_FILE] = results.encode()
    return files


_AUTO = {
    "auto_map": {
        "AutoConfig": "configuration_ifllm.IFLLMConfig",
        "AutoModel": "modeling_ifllm.IFLLMModel",
        "AutoModelForSequenceClassification": "modeling_ifllm.IFLLMForRewardModeling",
    },
    "custom_pipelines": {
        "implicit-reward": {
            "impl": "pipeline_ifllm.ImplicitRewardPipeline",
            "pt": ["AutoModelForSequenceClassification"],
            "type": "multimodal",
        }
    },
}
"""Where `transformers` finds the classes in the repository."""


def _read_model_config(folder: Path) -> dict[str, Any]:
    """Return `config.json`, once the folder is known to hold a whole reward model."""
    if (folder / "adapter_config.json").exists():
        raise TableError(
            f"{folder}: holds an adapter, not a model. Merge it first: "
            "peft_model.merge_and_unload().save_pretrained(FOLDER), and save the processor there."
        )
    needed = {_CONFIG: "config", "*.safetensors": "weights", _PROCESSOR: "processor"}
    for pattern, what in needed.items():
        if not any(folder.glob(pattern)):
            raise TableError(
                f"{folder}: holds no {what} ({pattern}). Expected what save_pretrained of an "
                "IFLLMForRewardModeling and of its IFLLMProcessor wrote."
            )
    config: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if config.get("model_type") != "ifllm":
        raise TableError(
            f"{folder / _CONFIG}: model_type is {config.get('model_type')!r}; expected 'ifllm', a "
            "reward model of this package. Others go up with their own push_to_hub."
        )
    from ifllm_hf.reward.model.configuration_ifllm import IFLLMConfig
    from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor

    IFLLMProcessor.from_pretrained(folder).check_config(IFLLMConfig.from_pretrained(folder))
    return config


def _code() -> set[Path]:
    """Return the files of this package that a repository needs to load the model by itself."""
    from transformers.dynamic_module_utils import get_relative_import_files

    from ifllm_hf.reward.model import modeling_ifllm, pipeline_ifllm, processing_ifllm

    heads = [Path(str(m.__file__)) for m in (modeling_ifllm, processing_ifllm, pipeline_ifllm)]
    return {*heads, *(Path(f) for head in heads for f in get_relative_import_files(head))}


def _without_local_paths(value: Any) -> Any:
    """Replace every string that names a place on this machine by its last part."""
    if isinstance(value, dict):
        return {key: _without_local_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_local_paths(item) for item in value]
    if isinstance(value, str) and os.path.isabs(value) and value.count(os.sep) > 1:
        return Path(value).name
    return value


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
