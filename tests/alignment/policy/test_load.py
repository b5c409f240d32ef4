"""What is refused before weights are loaded: positions that end, answers that do not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate.answers import generate_answers
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.policy.load import check_length, load_tokenizer
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.asked_prompts import STYLE, prompts, write

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


@pytest.fixture
def endless(tiny: Callable[..., Path], tmp_path: Path) -> Path:
    """A model whose tokenizer has neither an end of text nor padding."""
    folder = tmp_path / "endless"
    shutil.copytree(tiny(), folder)
    place = folder / "tokenizer_config.json"
    settings = {k: v for k, v in json.loads(place.read_text()).items() if not k.endswith("_token")}
    place.write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").unlink(missing_ok=True)
    return folder


def roberta(folder: Path, tokenizer: Path, rows: int = 66) -> Path:
    """A causal RoBERTa, whose positions begin behind the padding: two fewer than its table."""
    import torch
    from transformers import AutoTokenizer, RobertaConfig, RobertaForCausalLM

    read = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(0)
    RobertaForCausalLM(
        RobertaConfig(
            vocab_size=len(read), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=rows, pad_token_id=1, is_decoder=True,
        )
    ).save_pretrained(folder)  # fmt: skip
    read.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("stage", ["dpo", "sft"])
def test_training_needs_an_end_of_an_answer(stage: str, endless: Path, tmp_path: Path) -> None:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.policy.run import prepare_run
    from ifllm_hf.alignment.sft.config import PairSFTConfig

    training: Any = (PairDPOConfig if stage == "dpo" else PairSFTConfig)(
        output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, max_length=64
    )
    policy = PolicyConfig(model_name_or_path=str(endless), method="lora", dtype="float32")
    with pytest.raises(ConfigError, match="endless.*set eos_token"):
        prepare_run(policy, training, PairDataConfig(dataset="made-up"))
    prepared = prepare_run(
        policy, training, PairDataConfig(dataset="made-up", eos_token="<|endoftext|>")
    )
    assert prepared.tokenizer.pad_token_id == prepared.tokenizer.eos_token_id == 0


def test_generation_and_reward_models_name_their_settings(endless: Path, tmp_path: Path) -> None:
    spec = ModelSpec("m", str(endless))
    with pytest.raises(ConfigError, match=r"format\.eos_token"):
        write(spec, tmp_path / "a.jsonl", prompts(1))
    with pytest.raises(ConfigError, match="pad_token"):
        load_tokenizer(str(endless), None, of="m", writes=False)


def test_positions_that_begin_behind_the_padding_are_counted(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from ifllm_hf.alignment.policy.config import PolicyConfig

    place = str(roberta(tmp_path / "roberta", tiny()))
    policy = PolicyConfig(model_name_or_path=place, method="full")
    check_length(place, policy, 64)
    for too_long in (65, 66, None):
        with pytest.raises(ConfigError, match="64 positions.*max_length to 64"):
            check_length(place, policy, too_long)
    how = Sampling(backend="transformers", max_new_tokens=64, temperature=0.0)
    with pytest.raises(ConfigError, match=r"max_new_tokens.*64 positions"):
        generate_answers(ModelSpec("m", place), prompts(1), STYLE, how, tmp_path / "r.jsonl")
