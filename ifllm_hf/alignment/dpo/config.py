"""Every setting of a DPO run, checked before anything is downloaded.

Three dataclasses, one flat YAML: what to train (`PolicyConfig`), how (`PairDPOConfig`), on what
(`PairDataConfig`). Importing this module imports torch and TRL.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments
from transformers.utils import is_torch_bf16_gpu_available
from trl import DPOConfig, ModelConfig

from ifllm_hf.alignment.dpo.losses import NLL_REDUCTIONS, PREFERENCE_LOSSES
from ifllm_hf.errors import ConfigError, require_one_of

REFERENCES = ("start", "base")
METHODS = ("qlora", "lora", "full")
HISTORIES = ("none", "chosen")
PROMPT_FORMATS = ("template", "chat")
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


_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
}


def refuse_bf16_without_gpu(training: TrainingArguments) -> None:
    """Refuse a setting that this machine cannot do.

    Raises:
        ConfigError: bf16 is on and there is no GPU that supports it.
    """
    wants_bf16 = training.bf16 or (training.bf16 is None and not training.fp16)
    if wants_bf16 and not training.use_cpu and not is_torch_bf16_gpu_available():
        raise ConfigError(
            "bf16 is on and no GPU that supports it was found; run on such a GPU, or add "
            "'--bf16 false --use_cpu true --dtype float32' (a tiny model: "
            "--config recipes/configs/smoke.yaml)"
        )


def check_numbers(training: TrainingArguments) -> None:
    """Refuse sizes and rates that torch would refuse much later.

    Raises:
        ConfigError: A size below 1, or a rate below 0.
    """
    for name, least in _LEAST.items():
        if getattr(training, name) < least:
            raise ConfigError(f"{name} is {getattr(training, name)}; expected {least} or more")


@dataclass
class PairDPOConfig(DPOConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `DPOConfig` with a loss that knows the confidence of each pair.

    TRL's other defaults stay as they are (`disable_dropout` is true, so `lora_dropout` has no
    effect); `ddp_find_unused_parameters` is false.
    TRL's `loss_type`, `label_smoothing` and relatives are refused: the fields below replace them.
    """

    preference_loss: str = field(
        default="cdpo",
        metadata={
            "help": "cdpo: cross-entropy against the confidence. rdpo_paper: noise rate per pair "
            "clamp(1 - c, 0, 0.45), as in the IFLLM paper. rdpo: one noise rate. dpo, ipo (per "
            "token, as TRL), ipo_paper (sums): the confidence is not used.",
            "choices": list(PREFERENCE_LOSSES),
        },
    )
    noise_rate: float | None = field(
        default=None,
        metadata={
            "help": "rdpo only: rate of flipped labels in [0, 0.5). Default: the mean of 1 - c "
            "over the training pairs."
        },
    )
    nll_weight: float = field(
        default=0.2, metadata={"help": "Weight of the NLL of the chosen answer; 0 turns it off."}
    )
    nll_reduction: str = field(
        default="token_mean",
        metadata={
            "help": "token_mean (over the whole accumulated batch), pair_mean, or sum (the "
            "paper's: hundreds of nats per pair, so plain fine-tuning dominates).",
            "choices": list(NLL_REDUCTIONS),
        },
    )
    reference: str = field(
        default="start",
        metadata={
            "help": "start: the policy as it is before this run (margin 0 at step 0, asserted). "
            "base: the pretrained model (its margin is printed).",
            "choices": list(REFERENCES),
        },
    )

    ddp_find_unused_parameters: bool | None = field(
        default=False,
        metadata={"help": "Off: every trained weight is used in every step."},
    )
    remove_padding: bool = field(
        default=True,
        metadata={
            "help": "Read both answers of a pair in one row: the prompt once, no padding. Models "
            "that cannot are padded as TRL does, and the log says why."
        },
    )

    def __post_init__(self) -> None:
        """Check the settings; runs before TRL's own checks so that the message is ours.

        Raises:
            ConfigError: Settings that contradict each other, or that this machine cannot do.
        """
        require_one_of("preference_loss", self.preference_loss, PREFERENCE_LOSSES)
        require_one_of("nll_reduction", self.nll_reduction, NLL_REDUCTIONS)
        require_one_of("reference", self.reference, REFERENCES)
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
            value = (
                [self.loss_type]
                if name == "loss_type" and isinstance(self.loss_type, str)
                else None
            )
            if (value or getattr(self, name)) != default:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}: not used by the per-pair loss; {instead}"
                )
        check_numbers(self)
        refuse_bf16_without_gpu(self)
        super().__post_init__()


@dataclass
class PolicyConfig(ModelConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `ModelConfig` with QLoRA (NF4, double quantisation, bf16 compute) as the default.

    Departs from TRL: `method` sets `use_peft` and `load_in_4bit`; double quantisation is on;
    `lora_target_modules` is all-linear; `lora_dropout` is 0; `dtype` is bfloat16 for adapters and
    float32 for full fine-tuning (a bf16 weight would swallow most updates).
    """

    dtype: str | None = field(
        default=None,
        metadata={
            "help": "Dtype of the weights, and of 4-bit compute. Default: bfloat16 with an "
            "adapter, float32 for full fine-tuning.",
            "choices": ["auto", "bfloat16", "float16", "float32"],
        },
    )
    method: str = field(
        default="qlora",
        metadata={
            "help": "qlora: adapter on NF4 weights. lora: adapter on bf16 weights. full: all of "
            "the weights.",
            "choices": list(METHODS),
        },
    )
    load_in_4bit: bool = field(default=False, metadata={"help": "Set by method: qlora."})
    lora_target_modules: list[str] | None = field(
        default=None,
        metadata={"help": "Names of the layers that get an adapter. Default: all-linear."},
    )
    use_bnb_nested_quant: bool = field(
        default=True, metadata={"help": "Double quantisation: quantise the NF4 scales too."}
    )
    lora_dropout: float = field(
        default=0.0, metadata={"help": "No effect unless disable_dropout is false."}
    )
    sft_adapter: str | None = field(
        default=None,
        metadata={
            "help": "LoRA adapter of an SFT stage on the same base. It is loaded twice, trained "
            "and frozen, and never merged."
        },
    )
    reference_model: str | None = field(
        default=None,
        metadata={
            "help": "With reference: base, the pretrained model when model_name_or_path is a full "
            "SFT checkpoint. Default: model_name_or_path without any adapter."
        },
    )
    public_name: str | None = field(
        default=None,
        metadata={
            "help": "Name of the base model to write into the adapter and its card when "
            "model_name_or_path is a local folder. Default: the folder's last part."
        },
    )

    def __post_init__(self) -> None:
        """Resolve `method` into TRL's switches.

        Raises:
            ConfigError: No model, or switches that contradict `method`.
        """
        if not self.model_name_or_path:
            raise ConfigError(
                "model_name_or_path is missing; name a Hub model, a local folder or "
                "tiny-random/llama"
            )
        require_one_of("method", self.method, METHODS)
        if self.load_in_8bit or (self.load_in_4bit and self.method != "qlora"):
            raise ConfigError(
                f"load_in_4bit or load_in_8bit is set but method is {self.method}; "
                f"set method to one of {', '.join(METHODS)} and remove the other switches"
            )
        if self.sft_adapter and self.method == "full":
            raise ConfigError(
                "sft_adapter is set but method is full; merge the adapter into 16-bit weights "
                "first and name that folder as model_name_or_path, or use method: lora"
            )
        self.use_peft = self.method != "full"
        self.load_in_4bit = self.method == "qlora"
        if self.dtype is None:
            self.dtype = "float32" if self.method == "full" else "bfloat16"
        if self.use_peft and self.lora_target_modules is None:
            self.lora_target_modules = ["all-linear"]
        super().__post_init__()
        targets = self.lora_target_modules
        if isinstance(targets, str) and targets != "all-linear" and targets.isidentifier():
            # TRL turns a list of one into a string, which PEFT would match against whole paths.
            self.lora_target_modules = [targets]


@dataclass(frozen=True)
class PairDataConfig:
    """Which pairs, which of them are held out, and how a prompt looks to the model."""

    dataset: str = field(
        metadata={
            "help": "ifllm, a .parquet/.jsonl/.json file, a folder, a Hub dataset, or made-up "
            "(for dry runs)."
        }
    )
    dataset_config: str | None = field(
        default=None, metadata={"help": "Config of the dataset. Default for ifllm: preferences."}
    )
    dataset_split: str = field(default="train", metadata={"help": "Split of the dataset."})
    eval_fold: int | None = field(
        default=None,
        metadata={"help": "Hold out the pairs whose column 'fold' has this value (whole workers)."},
    )
    labeller_may_see_judged_readers: bool = field(
        default=False,
        metadata={
            "help": "For experiments that nobody judges: hold readers out although their clicks "
            "trained the models that labelled the others. Printed, and written into the card."
        },
    )
    min_confidence: float = field(
        default=0.5, metadata={"help": "Drop pairs below this confidence; they are counted."}
    )
    max_pairs: int | None = field(
        default=None, metadata={"help": "Use at most this many training pairs (for dry runs)."}
    )
    history: str = field(
        default="none",
        metadata={
            "help": "none: the current question only. chosen: the past of the side that was chosen "
            "(column history_chosen); both answers are then scored in that past.",
            "choices": list(HISTORIES),
        },
    )
    suffix: bool = field(
        default=False,
        metadata={
            "help": "Append ' respond using bullet points' where it was sent (column "
            "bullet_suffix)."
        },
    )
    prompt_format: str = field(
        default="template",
        metadata={
            "help": "template: prompt_template. chat: the chat template of the tokenizer.",
            "choices": list(PROMPT_FORMATS),
        },
    )
    prompt_template: str = field(
        default="Question: {prompt}\n\nAnswer:",
        metadata={"help": "How one question is written; contains {prompt} once."},
    )
    response_prefix: str = field(
        default=" ", metadata={"help": "Put before an answer, in template format."}
    )
    turn_separator: str = field(
        default="\n\n", metadata={"help": "Put between past turns, in template format."}
    )
    eos_token: str | None = field(
        default=None,
        metadata={"help": "Token that ends an answer. Default: the tokenizer's own."},
    )

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A value that no dataset could fit.
        """
        require_one_of("history", self.history, HISTORIES)
        require_one_of("prompt_format", self.prompt_format, PROMPT_FORMATS)
        if self.prompt_template.count("{prompt}") != 1:
            raise ConfigError(
                f"prompt_template is {self.prompt_template!r}; expected {{prompt}} in it once"
            )
        if not 0.5 <= self.min_confidence <= 1:
            raise ConfigError(
                f"min_confidence is {self.min_confidence}; expected a probability in [0.5, 1]"
            )
        if self.max_pairs is not None and self.max_pairs < 1:
            raise ConfigError(f"max_pairs is {self.max_pairs}; expected 1 or more")
