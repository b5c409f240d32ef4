"""The recipe of the small language model: from pairs of the world to answers with a true score."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ifllm_hf import pretrained
from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.pretrained.sampled_answers import sample_answers
from ifllm_hf.data.known_truth import WrittenTexts, known_world, true_score

CONFIG = Path(__file__).parents[3] / "recipes" / "configs" / "known-truth.yaml"
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


def test_the_recipe_trains_it_and_the_adapter_answers_on_it(tmp_path: Path) -> None:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.training.recipe_arguments import parse_recipe

    rows = []
    for turn in range(40):
        question, (a, b) = WrittenTexts()(turn, 2)
        better = true_score(question, a).score >= true_score(question, b).score
        chosen, rejected = (a, b) if better else (b, a)
        rows.append({"prompt": question, "chosen": chosen, "rejected": rejected, "fold": turn % 5})
    pl.DataFrame(rows).filter(pl.col("chosen") != pl.col("rejected")).with_columns(
        confidence=pl.lit(1.0)
    ).write_parquet(tmp_path / "pairs.parquet")
    data, training, policy = parse_recipe(
        (PairDataConfig, PairDPOConfig, PolicyConfig),
        ("--config", str(CONFIG), "--dataset", str(tmp_path / "pairs.parquet"),
         "--output_dir", str(tmp_path / "out"), "--max_steps", "3", "--disable_tqdm", "true",
         "--dataloader_pin_memory", "false"),
    )  # fmt: skip
    assert policy.model_name_or_path == str(pretrained("known-truth"))
    out = run_dpo(policy, training, data)
    record = json.loads((out / "run.json").read_text())
    assert record["used"]["base_model"] == "known-truth"
    assert record["settings"]["model_name_or_path"] == "known-truth", "no place of this machine"
    assert record["used"]["weights"] == "LoRA (r 16) on float32 weights"

    questions = [q.text for q in known_world().questions("test")[:60]]
    spec = ModelSpec("dpo", model="known-truth", adapter=str(out))
    trained = sample_answers(questions, tmp_path / "kept", spec=spec)
    base = sample_answers(questions, tmp_path / "kept")
    assert trained != base, "the adapter was put on"
    assert all(true_score(q, said).right >= 0 for q, [said] in zip(questions, trained, strict=True))
