"""One DPO run from settings to adapter; `recipes/dpo.py` calls `run_dpo`."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.dpo.losses import PAPER_EPSILON_MAX
from ifllm_hf.alignment.dpo.reference_ranks import reference_folder
from ifllm_hf.alignment.dpo.trainer import USES_CONFIDENCE, PairDPOTrainer
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import DROPPED_EQUAL, DROPPED_LONG
from ifllm_hf.alignment.policy.config import PolicyConfig
from ifllm_hf.alignment.policy.models import load_policy
from ifllm_hf.alignment.policy.run import (
    announce,
    finish,
    prepare_run,
    train_and_save,
    trainer_arguments,
)

logger = logging.getLogger(__name__)

_FEW_PAIRS, _EPOCHS_OF_FEW = 200, 2.0


def run_dpo(policy: PolicyConfig, training: PairDPOConfig, data: PairDataConfig) -> Path:
    """Train, and put the adapter, its settings and its card into `training.output_dir` itself.

    Args:
        policy: What to train.
        training: How.
        data: On what.

    Returns:
        The output folder; of a `reference_rank` that in which ranks meet: nothing is trained.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    run = prepare_run(policy, training, data)
    loaded = load_policy(run.path, policy, training)
    trainer = PairDPOTrainer(
        model=loaded.model,
        ref_model=loaded.ref_model,
        args=trainer_arguments(run),
        train_dataset=run.pairs.train,
        eval_dataset=run.pairs.held_out if training.eval_strategy != "no" else None,
        processing_class=run.tokenizer,
        peft_config=loaded.peft_config,
        base_model_name=run.base,
    )
    if training.reference_rank is not None:  # computed when the trainer was made
        return reference_folder(run.folder)
    record = announce(
        run,
        trainer,
        stage="dpo",
        left_out={
            DROPPED_LONG: sum(trainer.too_long.values()),
            DROPPED_EQUAL: sum(trainer.equal.values()),
        },
        cut=sum(trainer.cut.values()),
        weights=loaded.weights,
        loss=_loss(training, trainer),
        reference=loaded.reference,
        padding=trainer.padded or "none: both answers of a pair in one row",
    )
    if training.preference_loss == "rdpo_paper":
        logger.warning(
            "rdpo_paper: a pair of confidence c pulls with weight 1 / (1 - 2 min(1 - c, %.2f)), so "
            "the least certain pairs pull up to ten times harder than certain ones, and the loss "
            "has no lower bound; see gradient_share/decile_1 (least certain) to _10 in the log",
            PAPER_EPSILON_MAX,
        )
    if training.nll_weight and training.nll_reduction == "sum":
        logger.warning(
            "nll_reduction sum: the NLL counts hundreds of nats per pair and the preference less "
            "than one, so this is fine-tuning on the chosen answers; compare loss/preference"
        )
    _warn_of_few_pairs(len(trainer.train_dataset), training)
    train_and_save(trainer, run)
    if training.precompute_ref_log_probs and trainer.accelerator.is_main_process:
        # Its values are in the cache.
        shutil.rmtree(reference_folder(run.folder), ignore_errors=True)
    mass = trainer.gradient_mass
    share = (mass / mass.sum()).round(4).tolist() if mass.sum() > 0 else None
    return finish(
        trainer,
        run,
        record,
        step0_margin=trainer.step0_margin,
        gradient_share_by_confidence_decile=share,
    )


def _warn_of_few_pairs(n: int, training: PairDPOConfig) -> None:
    """Say where a fixed number of steps repeats a few pairs: answers then become worse."""
    if training.max_steps <= 0 or n >= _FEW_PAIRS:
        return
    read = training.max_steps * training.train_batch_size * training.gradient_accumulation_steps
    epochs = read * training.world_size / max(1, n)
    if epochs > _EPOCHS_OF_FEW:
        logger.warning(
            "max_steps %d reads %d pairs %.1f times; few pairs that are read often make answers "
            "worse, not better: set num_train_epochs (1 or 2) instead, or bring more pairs",
            training.max_steps,
            n,
            epochs,
        )


def _loss(training: PairDPOConfig, trainer: PairDPOTrainer) -> str:
    """Return the loss in words."""
    confidence = (
        "confidence per pair"
        if training.preference_loss in USES_CONFIDENCE
        else "confidence not used"
    )
    loss = f"{training.preference_loss} (beta {training.beta}, {confidence}"
    if training.preference_loss == "rdpo":
        loss += f", noise rate {trainer.noise_rate:.4g}"
    return f"{loss}) + {training.nll_weight} x NLL of the chosen answer ({training.nll_reduction})"
