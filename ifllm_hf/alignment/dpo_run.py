"""One DPO run from settings to adapter; `recipes/dpo.py` calls `run_dpo`."""

from __future__ import annotations

import errno
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ifllm_hf.alignment import policy as models
from ifllm_hf.alignment.dpo import USES_CONFIDENCE, PairDPOTrainer
from ifllm_hf.alignment.dpo_config import PairDataConfig, PairDPOConfig, PolicyConfig
from ifllm_hf.alignment.losses import PAPER_EPSILON_MAX
from ifllm_hf.alignment.pair_format import DROPPED_LONG, PreferencePairs, load_pairs
from ifllm_hf.alignment.run_record import card, public_name, read_run, versions, write_run
from ifllm_hf.alignment.tiny_models import TINY_PREFIX, build_tiny_model
from ifllm_hf.errors import ConfigError, OutputError

logger = logging.getLogger(__name__)


def checkpoint_to_resume(training: PairDPOConfig) -> str | None:
    """Return the checkpoint to continue from, and refuse a place that is taken.

    `resume_from_checkpoint: true` means the newest checkpoint that was written to its end (a full
    disk or a kill can leave a half-written one, which is passed over).

    Raises:
        OutputError: The output folder exists and is not resumed, or has nothing to resume from.
    """
    folder = Path(str(training.output_dir))
    wanted = training.resume_from_checkpoint
    if not wanted or str(wanted).lower() == "false":
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(
                f"output_dir {folder} exists and is not empty; choose another, or continue that "
                "run with --resume_from_checkpoint true"
            )
        return None
    if str(wanted).lower() != "true":
        if not (Path(str(wanted)) / "trainer_state.json").exists():
            raise OutputError(
                f"resume_from_checkpoint {wanted}: no finished checkpoint there; name a "
                "checkpoint-N folder, or use 'true' for the newest"
            )
        return str(wanted)
    finished = sorted(
        (int(state.parent.name.rsplit("-", 1)[1]), str(state.parent))
        # trainer_state.json is the last file of a checkpoint.
        for state in folder.glob("checkpoint-*/trainer_state.json")
        if state.stat().st_size
    )
    if not finished:
        raise OutputError(
            f"output_dir {folder}: no finished checkpoint to resume from; remove "
            "resume_from_checkpoint and choose an empty output_dir"
        )
    return finished[-1][1]


def run_dpo(policy: PolicyConfig, training: PairDPOConfig, data: PairDataConfig) -> Path:
    """Train, and put the adapter, its settings and its card into `training.output_dir` itself.

    Args:
        policy: What to train.
        training: How.
        data: On what.

    Returns:
        The output folder.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    folder = Path(str(training.output_dir))
    # The first look at the device sets the process group up as the settings say (use_cpu, backend).
    logger.debug("device: %s", training.device)
    state = PartialState()
    checkpoint = checkpoint_to_resume(training) if state.is_main_process else None
    checkpoint = _from_main(checkpoint)
    name = str(policy.model_name_or_path)
    for model in (name, policy.reference_model):
        if model and state.is_main_process:
            models.check_access(model)
    pairs = load_pairs(data, name=public_name(data.dataset))
    earlier = read_run(folder)
    if checkpoint and earlier and earlier["data"]["fingerprint"] != pairs.fingerprint:
        raise ConfigError(
            f"the pairs changed since the run in {folder} was started (fingerprint "
            f"{earlier['data']['fingerprint']}, now {pairs.fingerprint}); restore them and the "
            "prompt settings, or start in another output_dir"
        )
    path = _materialise(name, folder, pairs, training.seed)
    models.check_length(path, policy, training.max_length)
    tokenizer = models.load_tokenizer(path, policy, data.eos_token, data.prompt_format == "chat")
    loaded = models.load_policy(path, policy, training)
    base = policy.public_name or (name if name.startswith(TINY_PREFIX) else public_name(name))
    trainer = PairDPOTrainer(
        model=loaded.model,
        ref_model=loaded.ref_model,
        args=training,
        train_dataset=pairs.train,
        eval_dataset=pairs.held_out if training.eval_strategy != "no" else None,
        processing_class=tokenizer,
        peft_config=loaded.peft_config,
        base_model_name=base,
    )
    record = _record(policy, training, data, pairs, trainer, loaded, str(base))
    if state.is_main_process:
        write_run(folder, record)
    for key, value in record["used"].items():
        logger.info("%s: %s", key, value)
    logger.info("pairs: %s", record["data"])
    if training.preference_loss == "rdpo_paper":
        logger.warning(
            "rdpo_paper: a pair of confidence c pulls with weight 1 / (1 - 2 min(1 - c, %.2f)), so "
            "the least certain pairs pull up to ten times harder than certain ones, and the loss "
            "has no lower bound; see gradient_share/decile_1 (least certain) to _10 in the log",
            PAPER_EPSILON_MAX,
        )
    _train(trainer, checkpoint, folder)
    record["result"] = _result(trainer)
    _save(trainer, folder, record)
    return folder


def _from_main(value: str | None) -> str | None:
    from accelerate.utils import broadcast_object_list

    box = [value]
    broadcast_object_list(box, from_process=0)
    return box[0]


def _materialise(name: str, folder: Path, pairs: PreferencePairs, seed: int) -> str:
    """Return where the weights are; a tiny random model is made inside the output folder."""
    if not name.startswith(TINY_PREFIX):
        return name
    from ifllm_hf.alignment.pair_source import text_of

    texts = [
        text_of(value)
        for side in ("prompt", "chosen", "rejected")
        for value in pairs.train[:2000][side]
    ]
    with PartialState().main_process_first():
        return str(
            build_tiny_model(name.removeprefix(TINY_PREFIX), folder / "tiny_model", texts, seed)
        )


def _train(trainer: PairDPOTrainer, checkpoint: str | None, folder: Path) -> None:
    try:
        trainer.train(resume_from_checkpoint=checkpoint)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OutputError(
            f"{folder}: the disk is full; finished checkpoints are whole: free some space, then "
            "run the same command with --resume_from_checkpoint true"
        ) from error


def _result(trainer: PairDPOTrainer) -> dict[str, Any]:
    """Collect what happened, for `run.json`."""
    mass = trainer.gradient_mass
    return {
        "steps": trainer.state.global_step,
        "step0_margin": trainer.step0_margin,
        "gradient_share_by_confidence_decile": (mass / mass.sum()).round(4).tolist()
        if mass.sum() > 0
        else None,
        "log": trainer.state.log_history,
    }


def _save(trainer: PairDPOTrainer, folder: Path, record: dict[str, Any]) -> None:
    import shutil

    trainer.save_model(str(folder))
    if trainer.accelerator.is_main_process:
        # PEFT saves the frozen copy of the start beside the trained adapter; it is not a result.
        shutil.rmtree(folder / "ref", ignore_errors=True)
        (folder / "README.md").write_text(card(record))
        write_run(folder, record)
    trainer.accelerator.wait_for_everyone()


def _record(
    policy: PolicyConfig,
    training: PairDPOConfig,
    data: PairDataConfig,
    pairs: PreferencePairs,
    trainer: PairDPOTrainer,
    loaded: models.Policy,
    base: str,
) -> dict[str, Any]:
    """Return the resolved settings, what was used, the data's account and the versions."""
    # Held-out pairs that are not evaluated during training are held out all the same.
    held_out = trainer.eval_dataset if trainer.eval_dataset is not None else pairs.held_out
    too_long = sum(trainer.too_long.values())
    ledger = pairs.ledger
    ledger.kept -= too_long
    if too_long:
        ledger.dropped[DROPPED_LONG] = too_long
    ledger.check()
    settings = {**training.to_dict(), **asdict(policy), **asdict(data)}
    for key in ("model_name_or_path", "reference_model", "sft_adapter", "dataset"):
        settings[key] = public_name(settings[key])
    for key in ("output_dir", "run_name", "resume_from_checkpoint", "hub_token"):
        settings.pop(key, None)
    confidence = (
        "confidence per pair"
        if training.preference_loss in USES_CONFIDENCE
        else "confidence not used"
    )
    loss = f"{training.preference_loss} (beta {training.beta}, {confidence}"
    if training.preference_loss == "rdpo":
        loss += f", noise rate {trainer.noise_rate:.4g}"
    loss += f") + {training.nll_weight} x NLL of the chosen answer ({training.nll_reduction})"
    prompt = (
        "the tokenizer's chat template"
        if data.prompt_format == "chat"
        else f"`{data.prompt_template!r}`"
    )
    return {
        "settings": settings,
        "used": {
            "base_model": base,
            "weights": loaded.weights,
            "loss": loss,
            "reference": loaded.reference,
            "prompt": prompt,
            "device": str(trainer.accelerator.device),
            "processes": trainer.accelerator.num_processes,
        },
        "data": {
            "dataset": public_name(data.dataset),
            "fingerprint": pairs.fingerprint,
            "ledger": ledger.to_dict(),
            "train": len(trainer.train_dataset),
            "held_out": len(held_out) if held_out is not None else 0,
            "cut": sum(trainer.cut.values()),
        },
        "versions": versions(),
    }
