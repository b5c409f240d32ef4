"""What SFT, DPO and KTO runs have in common: what comes before training, and what comes after."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from ifllm_hf.alignment.pairs.format import PreferencePairs, load_pairs
from ifllm_hf.alignment.pairs.messages import text_of
from ifllm_hf.alignment.policy import load as models
from ifllm_hf.alignment.policy.adapter_base import (
    ADAPTER_CONFIG,
    check_adapter,
    refuse_adapter_as_model,
)
from ifllm_hf.alignment.policy.base_weights import base_fingerprint
from ifllm_hf.alignment.policy.run_card import card
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import write_whole
from ifllm_hf.training.checkpoints import checkpoint_to_resume, says_when_the_disk_is_full
from ifllm_hf.training.launch import check_launch
from ifllm_hf.training.push import push_run
from ifllm_hf.training.run_record import (
    check_same_base,
    keep_changed_settings,
    public_name,
    read_run,
    resolved_settings,
    versions,
    write_run,
)
from ifllm_hf.training.tiny_models import TINY_PREFIX, build_tiny_model

if TYPE_CHECKING:
    from trl import DPOConfig, KTOConfig, SFTConfig

    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig


logger = logging.getLogger(__name__)


@dataclass
class Prepared:
    """A run that may start: all that can be refused was checked.

    Attributes:
        policy: What is trained.
        training: How.
        data: On what.
        folder: Where results go.
        checkpoint: Where to go on, or None.
        pairs: The pairs, or single answers, as the model reads them.
        path: Where the weights are.
        tokenizer: The tokenizer.
        base: Public name of the base model.
    """

    policy: PolicyConfig
    training: DPOConfig | KTOConfig | SFTConfig
    data: PairDataConfig
    folder: Path
    checkpoint: str | None
    pairs: PreferencePairs
    path: str
    tokenizer: Any
    base: str


def prepare_run(
    policy: PolicyConfig,
    training: DPOConfig | KTOConfig | SFTConfig,
    data: PairDataConfig,
    load_data: Callable[[PairDataConfig, str], PreferencePairs] = load_pairs,
) -> Prepared:
    """Check everything that can be checked before weights are loaded, cheapest first.

    Args:
        policy: What is trained.
        training: How.
        data: On what.
        load_data: Opens, checks and splits it, with a name for messages.

    Raises:
        IFLLMError: Anything a user can act on, before the download where it can be known.
    """
    folder = Path(str(training.output_dir))
    # The first look at the device sets the process group up as the settings say (use_cpu, backend).
    logger.debug("device: %s", training.device)
    check_launch(training)
    state = PartialState()
    checkpoint = checkpoint_to_resume(str(folder), training.resume_from_checkpoint)
    name = str(policy.model_name_or_path)
    for model in (name, policy.reference_model):
        if model and state.is_main_process:
            models.check_access(model)
    refuse_adapter_as_model(name)
    base = policy.public_name or (name if name.startswith(TINY_PREFIX) else public_name(name))
    earlier = read_run(folder) if checkpoint else None
    if earlier:
        check_same_base(earlier.get("used", {}).get("base_model"), str(base), folder)
    if policy.sft_adapter:
        check_adapter(policy.sft_adapter, "sft_adapter", policy, training)
    if checkpoint and (Path(checkpoint) / ADAPTER_CONFIG).is_file():
        check_adapter(checkpoint, "resume_from_checkpoint", policy, training)
    pairs = load_data(data, str(public_name(data.dataset)))
    if pairs.labeller_saw:
        logger.warning(
            "labeller_may_see_judged_readers: the clicks behind %d held-out pairs trained the "
            "models that labelled the others, so these readers cannot judge the result",
            pairs.labeller_saw,
        )
    if earlier and earlier["data"]["fingerprint"] != pairs.fingerprint:
        raise ConfigError(
            f"the pairs changed since the run in {folder} was started (fingerprint "
            f"{earlier['data']['fingerprint']}, now {pairs.fingerprint}); restore them and the "
            "prompt settings, or start in another output_dir"
        )
    path = _place_of_weights(name, folder, pairs, training.seed)
    trusted = training.trust_remote_code
    models.check_length(path, policy, training.max_length, trust_remote_code=trusted)
    tokenizer = models.load_tokenizer(
        path,
        data.eos_token,
        of=name,
        revision=models.revision_of(path, policy),
        trust_remote_code=trusted,
    )
    if data.prompt_format == "chat" and tokenizer.chat_template is None:
        raise ConfigError(
            f"prompt_format is chat, but {name} has no chat template; use prompt_format: template"
        )
    return Prepared(policy, training, data, folder, checkpoint, pairs, path, tokenizer, str(base))


def trainer_arguments(run: Prepared) -> Any:
    """Return the settings of training; without `eval_strategy` where nobody is held out."""
    if run.pairs.held_out is not None or run.training.eval_strategy == "no":
        return run.training
    logger.info("eval_strategy: no, as nobody is held out")
    # A copy: a run is known again by its settings as they were given.
    arguments = copy.copy(run.training)
    arguments.eval_strategy = "no"
    return arguments


def announce(
    run: Prepared,
    trainer: Any,
    *,
    stage: str,
    left_out: dict[str, int],
    cut: int,
    of_rows: Mapping[str, Any] | None = None,
    **used: str,
) -> dict[str, Any]:
    """Write down and print what is used, before the first step.

    Args:
        run: What was prepared.
        trainer: The trainer, with its datasets.
        stage: `sft`, `dpo` or `kto`.
        left_out: Pairs, or answers, that the trainer left out because of `max_length`, by reason.
        cut: Answers, or pairs, cut at `max_length`.
        of_rows: What the record says of the data beside that; `rows`, what they are: pairs.
        **used: What the stage says of its models and its loss, in words.

    Returns:
        The record: the resolved settings, the data's account and the versions.
    """
    data = run.data
    # Held-out pairs that are not evaluated during training are held out all the same.
    held_out = trainer.eval_dataset if trainer.eval_dataset is not None else run.pairs.held_out
    ledger = run.pairs.ledger
    for reason, n in left_out.items():
        ledger.kept -= n
        if n:
            ledger.dropped[reason] += n
    ledger.check()
    prompt = (
        "the tokenizer's chat template"
        if data.prompt_format == "chat"
        else f"`{data.prompt_template!r}`"
    )
    if run.pairs.own_template:
        prompt += f" (not around {run.pairs.own_template} pairs with a template of their own)"
    record: dict[str, Any] = {
        "stage": stage,
        "settings": resolved_settings(run.training, run.policy, data),
        "used": {
            "base_model": run.base,
            "prompt": prompt,
            "device": str(trainer.accelerator.device),
            "processes": trainer.accelerator.num_processes,
            **used,
        },
        "data": {
            "dataset": public_name(data.dataset),
            "fingerprint": run.pairs.fingerprint,
            "ledger": ledger.to_dict(),
            "train": len(trainer.train_dataset),
            "held_out": len(held_out) if held_out is not None else 0,
            "cut": cut,
            "labeller_saw": run.pairs.labeller_saw,
            **(of_rows or {}),
        },
        "base_weights": base_fingerprint(run.path, models.revision_of(run.path, run.policy)),
        "versions": versions(),
    }
    if PartialState().is_main_process:
        keep_changed_settings(record, read_run(run.folder) if run.checkpoint else None)
        write_run(run.folder, record)
    for key, value in record["used"].items():
        logger.info("%s: %s", key, value)
    logger.info("%s: %s", record["data"].get("rows", "pairs"), record["data"])
    return record


def _place_of_weights(name: str, folder: Path, pairs: PreferencePairs, seed: int) -> str:
    """Return where the weights are; a tiny random model is made inside the output folder."""
    if not name.startswith(TINY_PREFIX):
        return name
    texts = [
        text_of(value)
        for side in ("prompt", "chosen", "rejected", "completion")
        if side in pairs.train.column_names
        for value in pairs.train[:2000][side]
    ]
    with PartialState().main_process_first():
        return str(
            build_tiny_model(name.removeprefix(TINY_PREFIX), folder / "tiny_model", texts, seed)
        )


def train_and_save(trainer: Any, run: Prepared) -> None:
    """Train, from a checkpoint if there is one, and write the weights into the output folder.

    Raises:
        OutputError: The disk is full; what to do is said.
    """
    with says_when_the_disk_is_full(run.folder):
        trainer.train(resume_from_checkpoint=run.checkpoint)
        # As a save of the trainer's own, which pushes nothing: card and results come first.
        trainer.save_model(str(run.folder), _internal_call=True)
    if trainer.accelerator.is_main_process:
        # PEFT saves the frozen copy of the start beside the trained adapter; it is not a result.
        shutil.rmtree(run.folder / "ref", ignore_errors=True)


def finish(trainer: Any, run: Prepared, record: dict[str, Any], **result: Any) -> Path:
    """Write the card and the record of a finished run, with its result; return its folder.

    With `push_to_hub` the folder is then uploaded.

    Raises:
        OutputError: The Hub did not take it.
    """
    state = trainer.state
    record["result"] = {"steps": state.global_step, "log": state.log_history, **result}
    if trainer.accelerator.is_main_process:
        write_whole(run.folder / "README.md", card(record))
        write_run(run.folder, record)
    trainer.accelerator.wait_for_everyone()
    if run.training.push_to_hub:
        push_run(trainer, run.folder, f"{record['stage'].upper()} with the ifllm recipes")
    return run.folder
