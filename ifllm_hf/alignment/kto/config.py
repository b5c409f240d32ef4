"""How a KTO run trains, checked before anything is downloaded.

The other settings are those of DPO: what to train (`policy.config`) and on what (`pairs.config`).
Importing this module imports torch and TRL.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from trl import KTOConfig

from ifllm_hf.alignment.dpo.config import REFERENCES, PairDPOConfig
from ifllm_hf.alignment.policy.config import check_training
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.setting import setting

LOSSES = ("kto", "apo_zero_unpaired")
# TRL settings that would change what a run is, with the value that they keep.
_FIXED_IN_TRL = {
    "sync_ref_model": (False, "the reference is named and stays fixed"),
    "train_sampling_strategy": (
        "sequential",
        "answers are shuffled once, with the seed, and KL is estimated from that order",
    ),
    "remove_unused_columns": (True, "the columns are known"),
}


@dataclass
class UnpairedKTOConfig(KTOConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `KTOConfig` with a weight for each answer and a reference that is named.

    Departs from TRL: the weights of both kinds balance themselves; `ddp_find_unused_parameters` and
    `logging_nan_inf_filter` are false.
    """

    loss_type: str = setting(
        "kto",
        "kto: https://arxiv.org/abs/2402.01306. apo_zero_unpaired: APO-zero, without an estimate "
        "of KL.",
        LOSSES,
    )
    desirable_weight: float | None = setting(
        None,
        "Weight of answers that were wanted. Default: 1, or what balances them against the others "
        "where they are fewer.",
    )
    undesirable_weight: float | None = setting(
        None, "Weight of answers that were not wanted. Default: likewise."
    )
    use_confidence: bool = setting(
        True, "Weigh each answer by 2c - 1, with c the column confidence: 0 for a coin flip."
    )
    reference: str = setting(
        "start",
        "start: the policy as it is before this run (rewards 0 at step 0, asserted). base: the "
        "pretrained model (its largest reward is printed).",
        REFERENCES,
    )

    ddp_find_unused_parameters: bool | None = setting(
        False, "Off: every trained weight is used in every step."
    )
    logging_nan_inf_filter: bool = setting(
        False, "Off: the log shows a loss that is no number as it is."
    )

    def __post_init__(self) -> None:
        """Check the settings; runs before TRL's own checks so that the message is ours.

        Raises:
            ConfigError: Settings that contradict each other, or that this machine cannot do.
        """
        require_one_of("loss_type", self.loss_type, LOSSES)
        require_one_of("reference", self.reference, REFERENCES)
        for name in ("beta", "desirable_weight", "undesirable_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} is {value}; expected more than 0")
        for name, (kept, why) in _FIXED_IN_TRL.items():
            if getattr(self, name) != kept:
                raise ConfigError(f"{name} is {getattr(self, name)!r}: remove it; {why}")
        check_training(self)
        if self.loss_type == "kto" and self.per_device_train_batch_size < 2:
            raise ConfigError(
                "per_device_train_batch_size is 1: KTO estimates KL from answers of a batch to "
                "each other's questions, and one alone has no other; set 2 or more (with fewer "
                "gradient_accumulation_steps), or loss_type: apo_zero_unpaired"
            )
        if self.precompute_ref_log_probs and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            # TRL 1.16 keeps them in a temporary file whose name each process makes up.
            raise ConfigError(
                "precompute_ref_log_probs is on with several processes, of which only the first "
                "would find the values; set it to false, or train in one process"
            )
        super().__post_init__()


def settings_not_for_kto() -> frozenset[str]:
    """Return the settings of a DPO recipe that a KTO run on the same YAML leaves out.

    Those that only DPO has, and the output folder, which each stage has for itself.
    """
    own = {f.name for f in fields(PairDPOConfig)} - {f.name for f in fields(UnpairedKTOConfig)}
    return frozenset(own | {"output_dir"})
