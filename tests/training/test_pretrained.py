"""Where positions end, and whose code runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.pretrained import hard_positions, loading, positions
from tests.helpers.alignment.remote_code_model import build_remote_code_model
from tests.helpers.fresh_process import python

_SMALL = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "vocab_size": 64}


@pytest.mark.parametrize(
    ("kind", "settings", "hard", "soft"),
    [
        ("bert", {"max_position_embeddings": 128}, 128, 128),
        ("roberta", {"max_position_embeddings": 514, "pad_token_id": 1}, 512, 512),
        ("xlm-roberta", {"max_position_embeddings": 130, "pad_token_id": 1}, 128, 128),
        ("mpnet", {"max_position_embeddings": 514}, 512, 512),
        ("gpt2", {"n_positions": 64}, 64, 64),
        ("openai-gpt", {"n_positions": 64}, 64, 64),
        ("opt", {"max_position_embeddings": 100, "word_embed_proj_dim": 32}, 100, 100),
        ("llama", {"max_position_embeddings": 256}, None, 256),
        ("falcon", {"alibi": True}, None, None),
        ("bloom", {}, None, None),
        ("xlnet", {"n_head": 2, "d_model": 32, "n_layer": 1}, None, None),
    ],
)
def test_positions_end_where_torch_would_fail(
    kind: str, settings: dict[str, Any], hard: int | None, soft: int | None
) -> None:
    from transformers import AutoConfig

    size = {} if kind == "xlnet" else _SMALL
    config = AutoConfig.for_model(kind, **{**size, **settings})
    assert (hard_positions(config), positions(config)) == (hard, soft)


def test_what_a_model_lacks_is_one_line() -> None:
    with (
        pytest.raises(ConfigError, match=r"m.*judge\.trust"),
        loading("m", trust_remote_code=False, setting="judge.trust_remote_code"),
    ):
        raise ValueError("please pass the argument `trust_remote_code=True`")
    with pytest.raises(ConfigError, match="flash"), loading("m", trust_remote_code=True):
        raise ImportError("requires the following packages:\n flash")
    with pytest.raises(ValueError, match="other"), loading("m", trust_remote_code=False):
        raise ValueError("something other")


# In a process of its own: code that ran once stays imported.
_EVERYWHERE = """
import json, sys
from pathlib import Path

out, sys.stdout = sys.stdout, sys.stderr  # trainers print
from ifllm_hf.alignment.generate.answers import generate_answers
from ifllm_hf.alignment.generate.backend import JudgedPrompt
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.reward import RewardJudge
from ifllm_hf.alignment.pairs.config import PairDataConfig, PromptFormat
from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.dpo.run import run_dpo
from ifllm_hf.reward.training.config import RewardInputConfig
from ifllm_hf.reward.training.trainer import build_model, build_processor, check_it_can_be_saved
from ifllm_hf.errors import ConfigError
import trl

model, found = str(Path("own").resolve()), {}

def dpo(trust):
    training = PairDPOConfig(
        output_dir=f"dpo-{trust}", use_cpu=True, bf16=False, max_steps=1, save_strategy="no",
        gradient_checkpointing=False, disable_tqdm=True, max_length=128, report_to="none",
        dataloader_pin_memory=False, trust_remote_code=trust,
    )
    policy = PolicyConfig(model_name_or_path=model, method="lora", dtype="float32", lora_r=2)
    return run_dpo(policy, training, PairDataConfig(dataset="made-up"))

def answers(trust):
    asked = JudgedPrompt("p", "u", "Why?", "Question: Why?\\n\\nAnswer:")
    adapter = "dpo-True" if trust else None
    how = Sampling(max_new_tokens=2, backend="transformers", trust_remote_code=trust)
    store = Path(f"answers-{trust}.jsonl")
    return generate_answers(
        ModelSpec("m", model, adapter), [asked], PromptFormat(), how, store, progress=False
    )

def judge(trust):
    settings = JudgeSettings("reward", model=model, trust_remote_code=trust)
    return RewardJudge(settings).rewards([("Why?", "So."), ("Why?", "so " * 3000)])[1]

def reward(trust):
    inputs = RewardInputConfig(trust_remote_code=trust, max_length=32)
    processor = build_processor(model, inputs)
    build_model(trl.ModelConfig(model_name_or_path=model), inputs, processor, likert=False)
    check_it_can_be_saved(model, inputs)

for trust in (False, True):
    for step in (dpo, answers, judge, reward):
        try:
            found[f"{step.__name__} {trust}"] = str(step(trust))
        except ConfigError as error:
            found[f"{step.__name__} {trust}"] = f"refused: {error}"
out.write(json.dumps(found))
"""


def test_code_of_a_model_runs_where_it_is_trusted_and_nowhere_else(tmp_path: Path) -> None:
    build_remote_code_model(tmp_path / "own")
    found = python(_EVERYWHERE, tmp_path, tmp_path / "home")
    for step, setting in (
        ("dpo", "trust_remote_code"), ("answers", "generation.trust_remote_code"),
        ("judge", "judge.trust_remote_code"), ("reward", "trust_remote_code"),
    ):  # fmt: skip
        said = found[f"{step} False"]
        assert said.startswith("refused") and f"set {setting}: true" in said
    assert found["dpo True"] == "dpo-True" and found["answers True"].startswith("{'p'")
    assert found["judge True"] == "None"  # 3,000 words do not fit
    assert "cannot take along" in found["reward True"]
