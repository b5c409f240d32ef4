"""Training the reward model: what it must find, what noise must not cost, what a kill leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")
from transformers import TrainerCallback  # noqa: E402

from ifllm_hf.benchmark.protocol.predictions import check_predictions, read_predictions  # noqa: E402
from ifllm_hf.benchmark.protocol.rows import labelled  # noqa: E402
from ifllm_hf.benchmark.studies import reward_folds  # noqa: E402
from ifllm_hf.errors import ConfigError, DataError  # noqa: E402
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling  # noqa: E402
from ifllm_hf.reward.training import run as reward_run  # noqa: E402
from ifllm_hf.reward.training.config import RewardDataConfig, RewardInputConfig  # noqa: E402
from tests.helpers.reward.turns import data_of, inputs_of, make_folder, make_turns, settings  # noqa: E402

pytestmark = pytest.mark.usefixtures("own_cache")


def held_out_accuracy(
    backbone: Any, rows: list[dict[str, Any]], inputs: RewardInputConfig, folder: Path
) -> float:
    """Train on readers of folds 1 to 4 and score those of fold 0."""
    data = data_of(rows)
    test = [q for q, row in data.rows.items() if row["fold"] == 0]
    train = [q for q in data.rows if q not in set(test)]
    trainer, processor = reward_run.fit_reward_model(
        backbone, inputs, settings(folder), data, train
    )
    gap = reward_run.score_pairs(trainer.model, processor, data, test)
    truth = [data.preferences[q].side == "b" for q in test]
    return float(np.mean((gap > 0) == np.array(truth)))


def test_behaviour_that_tells_is_found_for_readers_never_seen(
    backbone: Any, tmp_path: Path
) -> None:
    """Text tells nothing, behaviour tells with probability 0.9; five folds of workers."""
    rows = make_turns(behavior=0.9)
    folder = make_folder(rows, tmp_path / "data")
    data = RewardDataConfig(dataset=folder, cross_validate=True)
    training = settings(tmp_path / "run")
    file = reward_folds.cross_validate_reward(backbone, inputs_of(), training, data)
    import polars as pl

    table = labelled(pl.DataFrame(rows))
    found = check_predictions(read_predictions(file), table)
    truth = dict(zip(table.rows["query_id"].to_list(), table.y, strict=True))
    right = [(p > 0.5) == truth[q] for q, p in zip(found["query_id"], found["p_b"], strict=True)]
    assert np.mean(right) >= 0.85
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    curve = record["result"]["new_readers"]
    assert [point["labels"] for point in curve] == [0, 1, 3, 5]
    assert all(point["n"] == 100 and point["workers"] == 20 for point in curve)
    assert curve[0]["accuracy"] >= 0.8 and curve[0]["low"] < curve[0]["accuracy"]

    # Finished folds are not trained again.
    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished fold is trained again")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reward_folds, "fit_reward_model", no_training)
        reward_folds.cross_validate_reward(backbone, inputs_of(), training, data)
        with pytest.raises(AssertionError, match="trained again"):  # other settings, other folds
            reward_folds.cross_validate_reward(backbone, inputs_of("behavior"), training, data)


def test_behaviour_that_is_noise_costs_nothing(backbone: Any, tmp_path: Path) -> None:
    rows = make_turns(behavior=0.5, text=0.95)
    text = held_out_accuracy(backbone, rows, inputs_of("text"), tmp_path / "text")
    both = held_out_accuracy(backbone, rows, inputs_of(), tmp_path / "both")
    assert text >= 0.85
    # Two of the forty held-out pairs.
    assert both >= text - 0.05


def test_a_column_nobody_planned_for_is_read_by_naming_it(backbone: Any, tmp_path: Path) -> None:
    rows = make_turns(workers=10, heart=True)
    data = data_of(rows)
    inputs = inputs_of("text+trajectory", extra_channels=["heart_rate"])
    trainer, processor = reward_run.fit_reward_model(
        backbone, inputs, settings(tmp_path, num_train_epochs=1), data, list(data.rows)
    )
    assert trainer.model.config.channels[-1] == "heart_rate"
    seen = data.encode(processor, [100])[100]["a"]["trajectory"][:, -1]
    assert np.std(seen) > 0
    with pytest.raises(DataError, match="'pulse', which is no column"):
        data.fit(
            reward_run.tr.build_processor(
                backbone.model_name_or_path, inputs_of(extra_channels=["pulse"])
            ),
            [100],
        )


class _Kill(TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 8:
            raise KeyboardInterrupt


def test_a_killed_run_goes_on_with_the_same_losses(backbone: Any, tmp_path: Path) -> None:
    data = data_of(make_turns(workers=8, each=8))
    inputs = inputs_of(modality_dropout=0.3)

    def losses(folder: Path, callbacks: Any = (), checkpoint: str | None = None) -> list[float]:
        training = settings(
            folder,
            validation_share=0.0,
            max_steps=12,
            save_strategy="steps",
            save_steps=3,
            per_device_train_batch_size=8,
        )
        trainer, _ = reward_run.fit_reward_model(
            backbone,
            inputs,
            training,
            data,
            list(data.rows),
            checkpoint=checkpoint,
            callbacks=callbacks,
        )
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    whole = losses(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        losses(tmp_path / "killed", [_Kill()])
    resumed = losses(tmp_path / "killed", checkpoint=str(tmp_path / "killed" / "checkpoint-6"))
    assert len(whole) == len(resumed) == 12
    np.testing.assert_allclose(resumed, whole, atol=1e-6)


def test_accumulating_single_pairs_equals_one_batch(backbone: Any, tmp_path: Path) -> None:
    data = data_of(make_turns(workers=2, each=4))
    weights = []
    for size, steps in ((8, 1), (1, 8)):
        training = settings(
            tmp_path / str(size),
            validation_share=0.0,
            max_steps=1,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=steps,
            optim="sgd",
        )
        inputs = inputs_of(modality_dropout=0.0, behavior_dropout=0.0)
        trainer, _ = reward_run.fit_reward_model(backbone, inputs, training, data, list(data.rows))
        weights.append({n: p.detach().clone() for n, p in trainer.model.named_parameters()})
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], atol=1e-6, rtol=0)


def test_what_is_new_learns_at_its_own_rate(backbone: Any, tmp_path: Path) -> None:
    data = data_of(make_turns(workers=4, each=4))
    training = settings(tmp_path, max_steps=1, validation_share=0.0, lr_scheduler_type="constant")
    trainer, _ = reward_run.fit_reward_model(backbone, inputs_of(), training, data, list(data.rows))
    rate = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    learned = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    fixed = {n for n, p in trainer.model.named_parameters() if not p.requires_grad}
    assert fixed and all(".evidence." in name for name in fixed)
    for name, parameter in learned:
        assert rate[id(parameter)] == (1e-3 if ".text." in name else 5e-3), name
    frozen, _ = reward_run.fit_reward_model(
        backbone, inputs_of(freeze_backbone=True), training, data, list(data.rows)
    )
    trained = {n for n, p in frozen.model.named_parameters() if p.requires_grad}
    assert trained and not any(".text." in name for name in trained)


def test_a_backbone_that_stays_as_it_is_has_no_adapter(backbone: Any, tmp_path: Path) -> None:
    data = data_of(make_turns(workers=2, each=2, ticks=5))
    both = trl.ModelConfig(model_name_or_path=backbone.model_name_or_path, use_peft=True)
    frozen, training = inputs_of(freeze_backbone=True), settings(tmp_path, validation_share=0.0)
    with pytest.raises(ConfigError, match="set one of them to false"):
        reward_run.fit_reward_model(both, frozen, training, data, list(data.rows))


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_trl_trains_it_on_text_alone(backbone: Any, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer

    model = IFLLMForRewardModeling.from_text_backbone(backbone.model_name_or_path)
    rows = make_turns(workers=2, each=4)
    pairs = Dataset.from_list(
        [
            {"prompt": r["prompt"], "chosen": r["response_a"], "rejected": r["response_b"]}
            for r in rows
        ]
    )
    arguments = trl.RewardConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        max_length=32,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        disable_tqdm=True,
        report_to="none",
    )
    trainer = trl.RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=pairs,
        processing_class=AutoTokenizer.from_pretrained(
            backbone.model_name_or_path, eos_token="[SEP]"
        ),
    )
    before = model.score.weight.detach().clone()
    trainer.train()
    assert np.isfinite([e["loss"] for e in trainer.state.log_history if "loss" in e]).all()
    assert not torch.equal(model.score.weight, before)


def test_one_process_on_two_gpus_is_refused(backbone: Any, tmp_path: Path) -> None:
    data = data_of(make_turns(behavior=0.9))
    training = settings(tmp_path)
    training._n_gpu = 2  # what transformers counts where nothing was launched
    with pytest.raises(ConfigError, match="one process sees 2 GPUs"):
        reward_run.fit_reward_model(backbone, inputs_of(), training, data, list(data.rows))


def test_a_length_beyond_the_positions_of_a_backbone_is_refused_first(
    backbone: Any, tmp_path: Path
) -> None:
    import shutil

    place = tmp_path / "short"
    shutil.copytree(str(backbone.model_name_or_path), place)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 24}))
    for name in ("text", "text+both"):
        with pytest.raises(ConfigError, match="max_length to 24"):
            reward_run.tr.build_processor(str(place), inputs_of(name))
    reward_run.tr.build_processor(str(place), inputs_of("text", max_length=24))
    reward_run.tr.build_processor(str(place), inputs_of("behavior"))  # reads no text
