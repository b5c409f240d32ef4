"""A finished run goes to the Hub whole: with its card and its results, in one commit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError, OutputError
from ifllm_hf.hub_errors import hub_errors

logger = logging.getLogger(__name__)
_NOT_PUSHED = (
    *("_*", ".*", "checkpoint-*", "tiny_model/*"),
    "ref/*",  # the frozen copy of the start, which PEFT saves beside the trained adapter
    "training_args.bin",  # a pickle, with places of this machine; run.json says the same
)
_ONCE = ("every_save", "end")  # transformers' default, and what it comes to here


def check_push(training: Any) -> None:
    """Refuse to push checkpoints.

    Raises:
        ConfigError: `hub_strategy` asks for it.
    """
    strategy = getattr(training.hub_strategy, "value", training.hub_strategy)
    if training.push_to_hub and strategy not in _ONCE:
        raise ConfigError(
            f"hub_strategy is {strategy}, but a run is pushed once, whole, at its end; remove "
            "hub_strategy (checkpoints stay in output_dir)"
        )


def push_run(trainer: Any, folder: Path, message: str) -> None:
    """Upload the folder of a finished run in one commit; the first process does.

    Args:
        trainer: Of transformers; it made the repository when it was set up.
        folder: What is uploaded, but for checkpoints and what belongs to this machine.
        message: Of the commit.

    Raises:
        OutputError: The Hub did not take it. The run is done all the same.
    """
    if not trainer.is_world_process_zero():
        return
    from huggingface_hub import HfApi

    repo, args = trainer.hub_model_id, trainer.args
    try:
        with hub_errors(repo):
            HfApi(library_name="ifllm_hf").upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message=message,
                token=args.hub_token,
                revision=args.hub_revision,
                ignore_patterns=list(_NOT_PUSHED),
            )
    except OutputError as error:
        left_out = " ".join(f"--exclude '{pattern}'" for pattern in _NOT_PUSHED)
        raise OutputError(
            f"{error} The run is done and lies in {folder}; to push it later: "
            f"hf upload {repo} {folder} . {left_out}"
        ) from error
    logger.info("pushed to %s", repo)


class PushedWhole:
    """What our trainers put in front of TRL's: nothing is pushed before it is all there."""

    args: Any

    def init_hf_repo(self, *args: Any, **kwargs: Any) -> None:
        """Make the repository.

        Raises:
            OutputError: No token, no permission, or no network.
        """
        with hub_errors(self.args.hub_model_id or Path(self.args.output_dir).absolute().name):
            super().init_hf_repo(*args, **kwargs)  # type: ignore[misc]

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Push nothing: the card and the results are written at the end."""

    def push_to_hub(self, commit_message: str | None = "End of training", **_: Any) -> None:
        """Save what was trained, and upload it with whatever card lies there; see `push_run`."""
        if getattr(self, "hub_model_id", None) is None:
            self.init_hf_repo()
        folder = Path(self.args.output_dir)
        card = folder / "README.md"
        written = card.read_bytes() if card.exists() else None
        self.save_model(_internal_call=True)  # type: ignore[attr-defined]
        if written is not None:  # PEFT writes a draft over it, which is removed
            card.write_bytes(written)
        push_run(self, folder, commit_message or "End of training")
