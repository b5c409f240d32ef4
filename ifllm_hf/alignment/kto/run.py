"""One KTO run from settings to adapter; `recipes/kto.py` calls `run_kto`."""

from __future__ import annotations

from pathlib import Path

from ifllm_hf.alignment.kto.config import UnpairedKTOConfig
from ifllm_hf.alignment.kto.judgements import load_answers
from ifllm_hf.alignment.kto.trainer import UnpairedKTOTrainer
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import DROPPED_LONG
from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.alignment.policy.models import load_policy
from ifllm_hf.alignment.policy.run import (
    announce,
    finish,
    prepare_run,
    train_and_save,
    trainer_arguments,
)


def run_kto(policy: PolicyConfig, training: UnpairedKTOConfig, data: PairDataConfig) -> Path:
    """Train, and put the adapter, its settings and its card into `training.output_dir` itself.

    Args:
        policy: What to train.
        training: How.
        data: On what: single answers, or pairs.

    Returns:
        The output folder.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    run = prepare_run(policy, training, data, load_answers)
    loaded = load_policy(run.path, policy, training)
    trainer = UnpairedKTOTrainer(
        model=loaded.model,
        ref_model=loaded.ref_model,
        args=trainer_arguments(run),
        train_dataset=run.pairs.train,
        eval_dataset=run.pairs.held_out if training.eval_strategy != "no" else None,
        processing_class=run.tokenizer,
        peft_config=loaded.peft_config,
        base_model_name=run.base,
    )
    (wanted, desirable), (unwanted, undesirable) = trainer.kinds
    record = announce(
        run,
        trainer,
        stage="kto",
        left_out={DROPPED_LONG: sum(trainer.too_long.values())},
        cut=sum(trainer.cut.values()),
        of_rows={"rows": "answers", "desirable": wanted, "undesirable": unwanted},
        weights=loaded.weights,
        loss=f"{training.loss_type} (beta {training.beta}, each answer weighed by "
        + ("2 x confidence - 1)" if training.use_confidence else "its kind alone)"),
        kinds=f"{wanted} desirable (weight {desirable:.4g}), {unwanted} undesirable (weight "
        f"{undesirable:.4g})",
        reference=loaded.reference,
    )
    train_and_save(trainer, run)
    return finish(
        trainer,
        run,
        record,
        step0_reward=trainer.step0_reward,
        desirable_weight=desirable,
        undesirable_weight=undesirable,
    )
