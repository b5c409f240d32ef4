"""Settings of the optional stage before DPO: supervised fine-tuning on the answers of the pairs."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from trl import SFTConfig

from ifllm_hf.alignment.dpo.config import PairDPOConfig
from ifllm_hf.alignment.policy.config import check_training
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.setting import setting

ANSWERS = ("chosen", "both")
# TRL settings that would change what a row is, with the value that they keep.
_FIXED_IN_TRL = {
    "packing": False,
    "completion_only_loss": None,
    "assistant_only_loss": False,
    "truncation_mode": "keep_start",
    "chat_template_path": None,
}


@dataclass
class PairSFTConfig(SFTConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `SFTConfig` on the answers of preference pairs.

    Departs from TRL: `learning_rate` is 1e-4, for an adapter. The loss is the NLL of the answer
    per token of the accumulated batch; prompts are not scored.
    """

    answers: str = setting(
        "chosen",
        "chosen: train on the chosen answers. both: on chosen and rejected ones, as the IFLLM "
        "paper does; what was disliked is then learned too.",
        ANSWERS,
    )
    learning_rate: float = setting(1e-4, "For an adapter; about 1e-5 for --method full.")

    # The data settings name it, for both stages; a second option of the same name cannot be.
    eos_token: str | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Check the settings before TRL does.

        Raises:
            ConfigError: Settings that contradict each other, or that this machine cannot do.
        """
        require_one_of("answers", self.answers, ANSWERS)
        for name, kept in _FIXED_IN_TRL.items():
            if getattr(self, name) != kept:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, which does not fit pairs of answers; "
                    "remove it"
                )
        check_training(self)
        super().__post_init__()


def settings_not_for_sft() -> frozenset[str]:
    """Return the settings of a DPO recipe that an SFT run on the same YAML leaves out.

    Those that only DPO has, and those that each stage sets for itself: the learning rate and the
    number of epochs (SFT's own defaults or the command line then count), and the output folder.
    """
    own = {f.name for f in fields(PairDPOConfig)} - {f.name for f in fields(PairSFTConfig)}
    return frozenset(own | {"learning_rate", "num_train_epochs", "output_dir"})
