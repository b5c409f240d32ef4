"""The small language model: it is there, it knows the world, and it can be built again."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ifllm_hf import pretrained
from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.pretrained import base_model
from ifllm_hf.alignment.pretrained.base_model import (
    BaseTraining,
    build_base_model,
    train_base_model,
    train_base_tokenizer,
    written_answers,
)
from ifllm_hf.alignment.pretrained.sampled_answers import sample_answers
from ifllm_hf.data.known_truth import known_world, true_score
from ifllm_hf.data.known_truth.sentences import FILLERS, VALUES
from ifllm_hf.data.known_truth.towns import ATTRIBUTES, TOWNS
from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.pretrained.shipped import place_of_language_model

FOLDER = pretrained("known-truth")
MOST_BYTES = 2_000_000


def test_it_is_small_and_half_precise() -> None:
    from safetensors.numpy import load_file

    files = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert sum(files.values()) <= MOST_BYTES
    weights = load_file(FOLDER / "model.safetensors")
    assert {str(values.dtype) for values in weights.values()} == {"float16"}
    assert 0.9e6 < sum(values.size for values in weights.values()) < 1e6
    assert all(np.isfinite(values).all() for values in weights.values())


def test_it_loads_by_the_auto_classes_and_by_its_name() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    assert model.config.model_type == "llama"
    assert tokenizer.eos_token_id == model.config.eos_token_id != tokenizer.pad_token_id
    assert ModelSpec("x", model="known-truth").model == str(FOLDER)
    for name in ("config.json", "tokenizer_config.json"):
        assert "transformers_version" not in (FOLDER / name).read_text()


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known-truth").mkdir()
    monkeypatch.chdir(tmp_path)
    assert place_of_language_model("known-truth") == "known-truth"
    with pytest.raises(ConfigError, match="known-truth"):
        pretrained("nobody")


def test_every_word_of_the_world_is_one_token() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    words = {*TOWNS, *ATTRIBUTES, *(value for values in VALUES.values() for value in values)}
    words |= {word.rstrip(".") for filler in FILLERS for word in filler.split()}
    assert {word for word in words if len(tokenizer(f" {word}")["input_ids"]) != 1} == set()
    odd = "Straße 😀 \x00 漢"
    assert tokenizer.decode(tokenizer(odd)["input_ids"]) == odd


def test_its_answers_are_understood_and_as_good_as_the_card_says(tmp_path: Path) -> None:
    questions = [q.text for q in known_world().questions("test")[:50]]
    answers = sample_answers(questions, tmp_path, n=4)
    found = [true_score(q, a) for q, said in zip(questions, answers, strict=True) for a in said]
    scores = np.array([one.score for one in found])
    card = (FOLDER / "README.md").read_text()
    row = re.search(r"^\| ([0-9.]+) \| ([0-9.]+) \| ([0-9.]+) \| .*0\.\d\d \|$", card, re.MULTILINE)
    assert row is not None
    mean, deviation, right = map(float, row.groups())
    assert abs(scores.mean() - mean) < 0.5 and abs(scores.std() - deviation) < 0.5  # 2.6 SE
    sentences = sum(sum(vars(one).values()) - one.asked for one in found)
    assert sum(one.nonsense for one in found) / sentences < 0.02
    share = sum(one.right for one in found) / sum(one.asked for one in found)
    assert abs(share - right) < 0.06 and share > 0.5


def test_the_same_seed_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_model, "_TOKENIZER_TEXTS", 300)
    files = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        training = BaseTraining(cycles=(2, 1), batch_size=4, seed=seed)
        build_base_model(tmp_path / name, training, progress=False)
        files.append({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()})
    assert files[0] == files[1]
    assert files[0]["model.safetensors"] != files[2]["model.safetensors"]
    assert {*files[0], "README.md"} == {file.name for file in FOLDER.iterdir()}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_base_tokenizer(known_world())


def test_the_tokenizer_is_the_shipped_one(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    built, shipped = (
        json.loads((folder / "tokenizer.json").read_text()) for folder in (tmp_path, FOLDER)
    )
    assert built == shipped


def test_a_short_training_learns(tokenizer: Any) -> None:
    import torch

    texts = written_answers(known_world(), np.random.default_rng(9))
    ids, labels = base_model._tensors(tokenizer, [next(texts) for _ in range(16)])
    first = labels[0][labels[0] >= 0]
    assert first[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[0]).startswith("Question: What are the ")
    assert tokenizer.decode(first).startswith(" ")

    def loss(steps: int) -> float:
        training = BaseTraining(cycles=(steps,), batch_size=8, warmup=5)
        model: Any = train_base_model(known_world(), tokenizer, training, progress=False)
        with torch.no_grad():
            return float(model(input_ids=ids, labels=labels).loss)

    assert loss(30) < loss(1) - 1


def test_the_card_says_what_it_is() -> None:
    card = (FOLDER / "README.md").read_text()
    config = json.loads((FOLDER / "config.json").read_text())
    assert "make known-truth" in card and "nothing else" in card and "n = " in card
    assert config["dtype"] == "float16"
