"""Fits the shipped model on a prepared folder, and writes its folder: `make late-reading`.

Everything is closed form: the same release gives the same weights. The card lies in the folder and
is not written here; its numbers are those of `ifllm benchmark`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.tables.folds import FOLDS
from ifllm_hf.files import read_parquet, write_whole
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.late_reading import LateReading
from ifllm_hf.reward.pretrained.heads import ALL, HEADS_FILE, READERS_FILE, reader_digest
from ifllm_hf.reward.pretrained.shipped import pretrained

_COLUMNS = (
    *("query_id", "user_id", "preference", "fold", "prompt", "response_a", "response_b", "turn"),
)
_MANY_TICKS = 65_536
"""Of a turn that are not joined: an hour and a half at 13 Hz."""
_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def fit_heads(folder: str | os.PathLike[str]) -> tuple[dict[str, LateReading], dict[str, Any]]:
    """Fit one head on every labelled pair, and one without each fold.

    Args:
        folder: What `ifllm prepare` wrote.

    Returns:
        The fitted models, and the digests of the readers that each has seen, by head.

    Raises:
        TableError: It is no prepared folder.
    """
    pairs = read_parquet(config_files(folder, "pairwise"), _COLUMNS)
    features = behavior_features(read_turns(folder)).drop("contaminated")
    rows = pairs.filter(pl.col("preference").is_in(["a", "b"])).join(
        features, on="query_id", how="left", maintain_order="left"
    )
    y = (rows["preference"] == "b").to_numpy().astype(np.float64)
    fold, readers = rows["fold"].to_numpy(), rows["user_id"].to_numpy()
    parts = {ALL: np.ones(len(y), dtype=bool)}
    parts |= {f"fold_{k}": fold != k for k in range(FOLDS)}
    heads, seen = {}, {}
    for head, part in parts.items():
        heads[head] = LateReading().fit(rows.filter(pl.Series(part)), y[part], readers[part])
        seen[head] = sorted(map(reader_digest, set(readers[part])))
    return heads, seen


def build(folder: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Write model, processor, heads and readers into `out`; what else lies there stays.

    Args:
        folder: What `ifllm prepare` wrote.
        out: The model's folder.

    Raises:
        TableError: `folder` is no prepared folder.
        OutputError: A file cannot be written.
    """
    from safetensors.numpy import save

    heads, seen = fit_heads(folder)
    weights = {head: _float32(fitted.head_weights()) for head, fitted in heads.items()}
    out = Path(out)
    for name, content in _empty_model().items():
        write_whole(out / name, content)
    own = {f"model.evidence.{name}": values for name, values in weights.pop(ALL).items()}
    write_whole(out / "model.safetensors", save(own, metadata={"format": "pt"}))
    others = {
        f"{head}.{n}": values for head, named in weights.items() for n, values in named.items()
    }
    write_whole(out / HEADS_FILE, save(others))
    lines = ",\n".join(f"{json.dumps(head)}: {json.dumps(seen[head])}" for head in sorted(seen))
    write_whole(out / READERS_FILE, f"{{\n{lines}\n}}\n")


def _float32(weights: dict[str, FloatArray]) -> dict[str, np.ndarray[Any, Any]]:
    return {name: np.asarray(values, dtype=np.float32) for name, values in weights.items()}


def _empty_model() -> dict[str, str]:
    """Return config, tokenizer and processor of a model that is its evidence head alone, by file.

    The tokenizer knows no word: the head reads no token, characters are counted in the text.
    """
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from ifllm_hf.reward.model.configuration_ifllm import EVIDENCE_CHANNELS, IFLLMConfig
    from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
    from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor

    config = IFLLMConfig(
        use_text=False,
        use_token_behavior=False,
        use_trajectory=False,
        evidence_head=True,
        token_channels=[],
        channels=EVIDENCE_CHANNELS,
        architectures=["IFLLMForRewardModeling"],
        dtype="float32",
    )
    backend = Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", pad_token="<unk>"
    )
    extractor = IFLLMFeatureExtractor([], EVIDENCE_CHANNELS, max_ticks=_MANY_TICKS)
    processor = IFLLMProcessor(tokenizer, extractor, chat_template=_TEMPLATE)
    files = {}
    with tempfile.TemporaryDirectory() as aside:
        config.save_pretrained(aside)
        processor.save_pretrained(aside)
        for file in sorted(Path(aside).iterdir()):
            if file.suffix == ".json":
                said = json.loads(file.read_text(encoding="utf-8"))
                files[file.name] = json.dumps(_plain(said), indent=2, sort_keys=True) + "\n"
            elif file.suffix == ".jinja":
                files[file.name] = file.read_text(encoding="utf-8")
    return files


def _plain(said: Any) -> Any:
    """Leave out what changes with the version of transformers, and code that does not lie there."""
    if isinstance(said, dict):
        left_out = ("auto_map", "transformers_version")
        return {name: _plain(value) for name, value in said.items() if name not in left_out}
    return said


def main(arguments: Sequence[str]) -> int:
    """Build the shipped folder from a prepared one: `python -m ... FOLDER`."""
    (folder,) = arguments
    build(folder, pretrained())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
