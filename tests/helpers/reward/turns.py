"""Made-up turns of known strength, a tiny backbone and small settings, for tests that train."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ifllm_hf.reward.training.config import RewardInputConfig, RewardTrainingConfig
    from ifllm_hf.reward.training.run import RewardData

WORDS = ["the", "of", "a", "river", "stone", "light", "blue", "method", "answer", "perhaps"]


def make_turns(
    workers: int = 20,
    each: int = 10,
    *,
    behavior: float = 0.5,
    text: float = 0.5,
    ticks: int = 40,
    seed: int = 0,
    heart: bool = False,
) -> list[dict[str, Any]]:
    """Pairs whose preference behaviour and text each tell with a probability; 0.5 tells nothing.

    The mouse rests on one answer for most of the time, one answer holds the word "good". With
    `heart`, a column `heart_rate` is high throughout if and only if `b` is preferred.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(workers * each):
        preferred = "ab"[rng.integers(2)]
        other = "b" if preferred == "a" else "a"
        on = preferred if rng.random() < behavior else other
        good = preferred if rng.random() < text else other
        answers = {s: " ".join(rng.choice(WORDS, size=10)) for s in "ab"}
        answers[good] += " good"
        mouse = [on if rng.random() < 0.8 else "none" for _ in range(ticks)]
        reader = i // each
        row: dict[str, Any] = {
            "query_id": 100 + i,
            "conversation_id": f"c{i // 2}",
            "user_id": f"w{reader:02d}",
            "fold": reader % 5,
            "turn": i % 2 + 1,
            "prompt": "why " + str(rng.choice(WORDS)),
            "response_a": answers["a"],
            "response_b": answers["b"],
            "preference": preferred,
            "likert_a": 4 if preferred == "a" else 2,
            "likert_b": 4 if preferred == "b" else 2,
            "asked_at": dt.datetime(2025, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=i),
            "kind": "pairwise",
            "t_ms": np.cumsum(rng.uniform(50, 150, ticks)).round(1).tolist(),
            "page_load": [0] * ticks,
            "phase": ["reading"] * ticks,
        }
        for channel in ("mouse", "gaze"):
            side = mouse if channel == "mouse" else rng.choice(["none", "a", "b"], ticks).tolist()
            row[f"{channel}_on"] = side
            row[f"{channel}_char"] = [
                None if s == "none" else int(rng.integers(len(answers[s]))) for s in side
            ]
        if heart:
            high = 90.0 if preferred == "b" else 60.0
            row["heart_rate"] = (high + rng.normal(size=ticks)).tolist()
        rows.append(row)
    return rows


def make_folder(rows: list[dict[str, Any]], folder: Path) -> str:
    """Write turns so that `load_dataset(folder, "pairwise")` reads them."""
    from datasets import Dataset

    place = folder / "pairwise"
    place.mkdir(parents=True)
    Dataset.from_list(rows).to_parquet(str(place / "train-00000-of-00001.parquet"))
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: pairwise\n  data_files:\n  - split: train\n"
        "    path: pairwise/*.parquet\n---\n"
    )
    return str(folder)


def make_backbone(folder: Path) -> str:
    """Write a tiny random BERT and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "why", "good", *WORDS]
    vocabulary = {word: i for i, word in enumerate(names)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(names),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def data_of(rows: list[dict[str, Any]]) -> RewardData:
    """The turns as they come from a dataset, all of them known."""
    from datasets import Dataset

    from ifllm_hf.reward.training.examples import preferences
    from ifllm_hf.reward.training.run import RewardData

    meta = {row["query_id"]: row for row in rows}
    return RewardData({"pairwise": Dataset.from_list(rows)}, meta, preferences(rows), "pairwise")


def settings(folder: Path, **changed: Any) -> RewardTrainingConfig:
    """Training settings for a CPU and tiny sets."""
    from ifllm_hf.reward.training.config import RewardTrainingConfig

    given = {
        "per_device_train_batch_size": 16,
        "num_train_epochs": 6,
        "learning_rate": 1e-3,
        "behavior_learning_rate": 5e-3,
        "logging_steps": 1,
        "save_total_limit": 1,
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,
        **changed,
    }
    return RewardTrainingConfig(output_dir=str(folder), **given)


def inputs_of(name: str = "text+both", **changed: Any) -> RewardInputConfig:
    """Small inputs."""
    from ifllm_hf.reward.training.config import RewardInputConfig

    given = {"max_length": 32, "trajectory_layers": 1, "trajectory_hidden_size": 16, **changed}
    return RewardInputConfig(inputs=name, **given)
