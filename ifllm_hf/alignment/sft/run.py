"""One SFT run from settings to adapter; `recipes/sft.py` calls `run_sft`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trl import SFTTrainer, get_peft_config

from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import DROPPED_LONG
from ifllm_hf.alignment.policy.adapter_precision import AdapterPrecision
from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.alignment.policy.load import load_model, weights_in_words
from ifllm_hf.alignment.policy.run import (
    announce,
    finish,
    prepare_run,
    train_and_save,
    trainer_arguments,
)
from ifllm_hf.alignment.sft.config import PairSFTConfig
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.training.local_paths import WithoutLocalPaths

if TYPE_CHECKING:
    from datasets import Dataset


class AnswerSFTTrainer(WithoutLocalPaths, AdapterPrecision, SFTTrainer):  # type: ignore[misc, unused-ignore]
    """TRL's trainer, which saves no local path and no card of its own."""


def answers_of(pairs: Dataset, answers: str) -> Dataset:
    """Return one row per answer, `prompt` and `completion`.

    Args:
        pairs: Columns `prompt`, `chosen`, `rejected`, as the model reads them.
        answers: `chosen`, or `both` (all chosen answers first, then all rejected ones).
    """
    from datasets import concatenate_datasets

    sides = ("chosen",) if answers == "chosen" else ("chosen", "rejected")
    return concatenate_datasets(
        [pairs.select_columns(["prompt", side]).rename_column(side, "completion") for side in sides]
    )


def run_sft(policy: PolicyConfig, training: PairSFTConfig, data: PairDataConfig) -> Path:
    """Train on the answers, and put the adapter, its settings and its card into the output folder.

    Args:
        policy: What to train.
        training: How.
        data: On what; the same as for DPO, so that held-out readers stay unseen in both.

    Returns:
        The output folder; `sft_adapter` of a DPO run names it.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    for name in ("sft_adapter", "reference_model"):
        if getattr(policy, name):
            raise ConfigError(
                f"{name} is set, but SFT starts from the model itself and has no reference; "
                "remove it"
            )
    run = prepare_run(policy, training, data)
    train = answers_of(run.pairs.train, training.answers)
    held_out = None
    if run.pairs.held_out is not None and training.eval_strategy != "no":
        held_out = answers_of(run.pairs.held_out, training.answers)
    trainer = AnswerSFTTrainer(
        model=load_model(run.path, policy, training),
        args=trainer_arguments(run),
        train_dataset=train,
        eval_dataset=held_out,
        processing_class=run.tokenizer,
        peft_config=get_peft_config(policy),
        base_model_name=run.base,
    )
    if not len(trainer.train_dataset):
        raise DataError(
            f"all {len(train)} prompts fill max_length {training.max_length}; raise max_length or "
            "use history: none"
        )
    left_out = sum(
        len(before) - len(after)
        for before, after in ((train, trainer.train_dataset), (held_out, trainer.eval_dataset))
        if before is not None
    )
    sides = 1 if training.answers == "chosen" else 2
    record = announce(
        run,
        trainer,
        stage="sft",
        left_out={DROPPED_LONG: left_out // sides},
        cut=sum(
            len(ids) == training.max_length and ids[-1] != run.tokenizer.eos_token_id
            for ids in trainer.train_dataset["input_ids"]
        ),
        weights=weights_in_words(policy),
        loss="NLL per token of "
        + ("the chosen answers" if sides == 1 else "chosen and rejected answers alike"),
    )
    train_and_save(trainer, run)
    return finish(trainer, run, record)
