"""What an SFT and a DPO run have in common: what comes before training, and what comes after."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from ifllm_hf.alignment.pairs.format import DROPPED_LONG, PreferencePairs, load_pairs
from ifllm_hf.alignment.policy import load as models
from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.training.checkpoints import is_whole, newest_checkpoint
from ifllm_hf.training.run_file import (
    is_free,
    keep_changed_settings,
    public_name,
    read_run,
    versions,
    write_run,
)
from ifllm_hf.training.run_record import card
from ifllm_hf.training.tiny_models import TINY_PREFIX, build_tiny_model

if TYPE_CHECKING:
    from ifllm_hf.alignment.dpo.config import PairDataConfig, PairDPOConfig, PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig

    TrainingConfig = PairDPOConfig | PairSFTConfig

logger = logging.getLogger(__name__)


@dataclass
class Prepared:
    """A run that may start: all that can be refused was checked.

    Attributes:
        folder: Where results go.
        checkpoint: Where to go on, or None.
        pairs: The pairs as the model reads them.
        path: Where the weights are.
        tokenizer: The tokenizer.
        base: Public name of the base model.
    """

    folder: Path
    checkpoint: str | None
    pairs: PreferencePairs
    path: str
    tokenizer: Any
    base: str


def prepare_run(policy: PolicyConfig, training: TrainingConfig, data: PairDataConfig) -> Prepared:
    """Check everything that can be checked before weights are loaded, cheapest first.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    folder = Path(str(training.output_dir))
    # The first look at the device sets the process group up as the settings say (use_cpu, backend).
    logger.debug("device: %s", training.device)
    state = PartialState()
    checkpoint = _from_main(checkpoint_to_resume(training) if state.is_main_process else None)
    name = str(policy.model_name_or_path)
    for model in (name, policy.reference_model):
        if model and state.is_main_process:
            models.check_access(model)
    pairs = load_pairs(data, name=public_name(data.dataset))
    if pairs.labeller_saw:
        logger.warning(
            "labeller_may_see_judged_readers: the clicks behind %d held-out pairs trained the "
            "models that labelled the others, so these readers cannot judge the result",
            pairs.labeller_saw,
        )
    earlier = read_run(folder) if checkpoint else None
    if earlier and earlier["data"]["fingerprint"] != pairs.fingerprint:
        raise ConfigError(
            f"the pairs changed since the run in {folder} was started (fingerprint "
            f"{earlier['data']['fingerprint']}, now {pairs.fingerprint}); restore them and the "
            "prompt settings, or start in another output_dir"
        )
    path = _materialise(name, folder, pairs, training.seed)
    models.check_length(path, policy, training.max_length)
    tokenizer = models.load_tokenizer(path, policy, data.eos_token, data.prompt_format == "chat")
    base = policy.public_name or (name if name.startswith(TINY_PREFIX) else public_name(name))
    return Prepared(folder, checkpoint, pairs, path, tokenizer, str(base))


def base_record(
    run: Prepared,
    policy: PolicyConfig,
    training: TrainingConfig,
    data: PairDataConfig,
    trainer: Any,
    *,
    too_long: int,
    cut: int,
) -> dict[str, Any]:
    """Return the resolved settings, the data's account and the versions of a run.

    Args:
        run: What was prepared.
        policy: What is trained.
        training: How.
        data: On what.
        trainer: The trainer, with its datasets.
        too_long: Pairs left out because their prompt fills `max_length`.
        cut: Answers, or pairs, cut at `max_length`.
    """
    # Held-out pairs that are not evaluated during training are held out all the same.
    held_out = trainer.eval_dataset if trainer.eval_dataset is not None else run.pairs.held_out
    ledger = run.pairs.ledger
    ledger.kept -= too_long
    if too_long:
        ledger.dropped[DROPPED_LONG] = too_long
    ledger.check()
    settings = {**training.to_dict(), **asdict(policy), **asdict(data)}
    for key in ("model_name_or_path", "reference_model", "sft_adapter", "dataset"):
        settings[key] = public_name(settings[key])
    for key in ("output_dir", "run_name", "resume_from_checkpoint", "hub_token"):
        settings.pop(key, None)
    prompt = (
        "the tokenizer's chat template"
        if data.prompt_format == "chat"
        else f"`{data.prompt_template!r}`"
    )
    return {
        "settings": settings,
        "used": {
            "base_model": run.base,
            "prompt": prompt,
            "device": str(trainer.accelerator.device),
            "processes": trainer.accelerator.num_processes,
        },
        "data": {
            "dataset": public_name(data.dataset),
            "fingerprint": run.pairs.fingerprint,
            "ledger": ledger.to_dict(),
            "train": len(trainer.train_dataset),
            "held_out": len(held_out) if held_out is not None else 0,
            "cut": cut,
            "labeller_saw": run.pairs.labeller_saw,
        },
        "versions": versions(),
    }


def announce(run: Prepared, record: dict[str, Any]) -> None:
    """Write down and print what is used, before the first step."""
    if PartialState().is_main_process:
        keep_changed_settings(record, read_run(run.folder) if run.checkpoint else None)
        write_run(run.folder, record)
    for key, value in record["used"].items():
        logger.info("%s: %s", key, value)
    logger.info("pairs: %s", record["data"])


def checkpoint_to_resume(training: TrainingConfig) -> str | None:
    """Return the checkpoint to continue from, and refuse a place that is taken.

    `resume_from_checkpoint: true` means the newest checkpoint that was written to its end (a full
    disk or a kill can leave a half-written one, which is passed over).

    Raises:
        OutputError: The output folder exists and is not resumed, or has nothing to resume from.
    """
    folder = Path(str(training.output_dir))
    wanted = training.resume_from_checkpoint
    if not wanted or str(wanted).lower() == "false":
        _check_writable(folder)
        if not is_free(folder):
            raise OutputError(
                f"output_dir {folder} exists and is not empty; choose another, or continue that "
                "run with --resume_from_checkpoint true"
            )
        return None
    if str(wanted).lower() != "true":
        if not is_whole(Path(str(wanted))):
            raise OutputError(
                f"resume_from_checkpoint {wanted}: no finished checkpoint there; name a "
                "checkpoint-N folder, or use 'true' for the newest"
            )
        return str(wanted)
    newest = newest_checkpoint(folder)
    if newest is None:
        raise OutputError(
            f"output_dir {folder}: no finished checkpoint to resume from; remove "
            "resume_from_checkpoint and choose an empty output_dir"
        )
    return str(newest)


def _check_writable(folder: Path) -> None:
    """Refuse a place where no folder can be made, before anything is downloaded."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise OutputError(
            f"output_dir {folder}: {there} is no folder that can be written to; choose another"
        )


def _from_main(value: str | None) -> str | None:
    """Return what the main process has."""
    from accelerate.utils import broadcast_object_list

    box = [value]
    broadcast_object_list(box, from_process=0)
    return box[0]


def _materialise(name: str, folder: Path, pairs: PreferencePairs, seed: int) -> str:
    """Return where the weights are; a tiny random model is made inside the output folder."""
    if not name.startswith(TINY_PREFIX):
        return name
    from ifllm_hf.alignment.pairs.source import text_of

    texts = [
        text_of(value)
        for side in ("prompt", "chosen", "rejected")
        for value in pairs.train[:2000][side]
    ]
    with PartialState().main_process_first():
        return str(
            build_tiny_model(name.removeprefix(TINY_PREFIX), folder / "tiny_model", texts, seed)
        )


def _disk_is_full(error: Exception, folder: Path) -> bool:
    """Whether a failed write is one: only `open` says ENOSPC, the writers of weights do not."""
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
        return True
    return "inline_container" in str(error) and shutil.disk_usage(folder).free < 2**20


def train_and_save(trainer: Any, run: Prepared) -> None:
    """Train, from a checkpoint if there is one, and write the weights into the output folder.

    Raises:
        OutputError: The disk is full; what to do is said.
    """
    from safetensors import SafetensorError

    try:
        trainer.train(resume_from_checkpoint=run.checkpoint)
        trainer.save_model(str(run.folder))
    except (OSError, RuntimeError, SafetensorError) as error:
        if not _disk_is_full(error, run.folder):
            raise
        raise OutputError(
            f"{run.folder}: the disk is full; finished checkpoints are whole: free some space, "
            "then run the same command with --resume_from_checkpoint true"
        ) from error
    if trainer.accelerator.is_main_process:
        # PEFT saves the frozen copy of the start beside the trained adapter; it is not a result.
        shutil.rmtree(run.folder / "ref", ignore_errors=True)


def finish(trainer: Any, run: Prepared, record: dict[str, Any]) -> Path:
    """Write the card and the record of a finished run; return its folder."""
    if trainer.accelerator.is_main_process:
        (run.folder / "README.md").write_text(card(record))
        write_run(run.folder, record)
    trainer.accelerator.wait_for_everyone()
    return run.folder
