"""How a DPO run trains, checked before anything is downloaded.

Three dataclasses, one flat YAML: what to train (`policy.config`), how (`PairDPOConfig`), on what
(`pairs.config`). Importing this module imports torch and TRL.
"""

from __future__ import annotations

from dataclasses import dataclass

from trl import DPOConfig

from ifllm_hf.alignment.dpo.losses import NLL_REDUCTIONS, PREFERENCE_LOSSES
from ifllm_hf.alignment.dpo.reference_ranks import parse_rank
from ifllm_hf.alignment.policy.config import check_training
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.setting import setting

REFERENCES = ("start", "base")
# TRL settings that the per-pair loss replaces or does not implement, with the value that they keep.
_FIXED_IN_TRL = {
    "loss_type": (["sigmoid"], "set preference_loss instead"),
    "loss_weights": (None, "set nll_weight instead"),
    "label_smoothing": (0.0, "set preference_loss: rdpo and noise_rate instead"),
    "ld_alpha": (None, "remove it"),
    "f_divergence_type": ("reverse_kl", "remove it"),
    "use_weighting": (False, "remove it; pairs are weighted by their confidence"),
    "sync_ref_model": (False, "remove it; the reference is named and stays fixed"),
    "truncation_mode": ("keep_start", "remove it"),
    "padding_free": (False, "remove it"),
    "remove_unused_columns": (True, "remove it"),
}


@dataclass
class PairDPOConfig(DPOConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `DPOConfig` with a loss that knows the confidence of each pair.

    TRL's other defaults stay as they are (`disable_dropout` is true, so `lora_dropout` has no
    effect); `ddp_find_unused_parameters` and `logging_nan_inf_filter` are false.
    TRL's `loss_type`, `label_smoothing` and relatives are refused: the fields below replace them.
    """

    preference_loss: str = setting(
        "cdpo",
        "cdpo: cross-entropy against the confidence. rdpo_paper: noise rate per pair clamp(1 - c, "
        "0, 0.45), as in the IFLLM paper. rdpo: one noise rate. dpo, ipo (per token, as TRL), "
        "ipo_paper (sums): the confidence is not used.",
        PREFERENCE_LOSSES,
    )
    noise_rate: float | None = setting(
        None,
        "rdpo only: rate of flipped labels in [0, 0.5). Default: the mean of 1 - c over the "
        "training pairs.",
    )
    nll_weight: float = setting(0.2, "Weight of the NLL of the chosen answer; 0 turns it off.")
    nll_reduction: str = setting(
        "token_mean",
        "token_mean (over the whole accumulated batch), pair_mean, or sum (the paper's: hundreds "
        "of nats per pair, so plain fine-tuning dominates).",
        NLL_REDUCTIONS,
    )
    reference: str = setting(
        "start",
        "start: the policy as it is before this run (margin 0 at step 0, asserted). base: the "
        "pretrained model (its margin is printed).",
        REFERENCES,
    )
    reference_rank: str | None = setting(
        None,
        "K/N, as 0/4: train nothing, but compute the part K of N of the reference's log "
        "probabilities; the run without this setting takes all parts that lie beside output_dir.",
    )

    ddp_find_unused_parameters: bool | None = setting(
        False, "Off: every trained weight is used in every step."
    )
    logging_nan_inf_filter: bool = setting(
        False,
        "Off: to look for a loss that is no number, the processor waits for the device after each "
        "micro batch; the log shows such a loss as it is.",
    )
    remove_padding: bool = setting(
        True,
        "Read both answers of a pair in one row: the prompt once, no padding. Models that cannot "
        "are padded as TRL does, and the log says why.",
    )

    def __post_init__(self) -> None:
        """Check the settings; runs before TRL's own checks so that the message is ours.

        Raises:
            ConfigError: Settings that contradict each other, or that this machine cannot do.
        """
        require_one_of("preference_loss", self.preference_loss, PREFERENCE_LOSSES)
        require_one_of("nll_reduction", self.nll_reduction, NLL_REDUCTIONS)
        require_one_of("reference", self.reference, REFERENCES)
        if self.reference_rank is not None:
            parse_rank(self.reference_rank)
            if not self.precompute_ref_log_probs:
                raise ConfigError(
                    "reference_rank is set but precompute_ref_log_probs is false, so no run would "
                    "read its values; set precompute_ref_log_probs: true for all ranks and the run"
                )
        if self.noise_rate is not None and self.preference_loss != "rdpo":
            raise ConfigError(
                f"noise_rate is {self.noise_rate} but preference_loss is {self.preference_loss}, "
                "which does not use it; set preference_loss: rdpo or remove noise_rate"
            )
        if self.noise_rate is not None and not 0 <= self.noise_rate < 0.5:
            raise ConfigError(f"noise_rate is {self.noise_rate}; expected a rate in [0, 0.5)")
        if not self.nll_weight >= 0:
            raise ConfigError(f"nll_weight is {self.nll_weight}; expected 0 or more")
        if not self.beta > 0:
            raise ConfigError(f"beta is {self.beta}; expected more than 0")
        for name, (default, instead) in _FIXED_IN_TRL.items():
            given = getattr(self, name)
            if default not in (given, [given]):  # TRL takes one loss_type or a list of them
                raise ConfigError(f"{name} is {given!r}: not used by the per-pair loss; {instead}")
        check_training(self)
        super().__post_init__()
