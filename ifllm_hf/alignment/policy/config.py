"""What is trained in SFT and in DPO, and the checks that the settings of both share.

Importing this module imports torch and TRL.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import TrainingArguments
from trl import ModelConfig

from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.reward.pretrained.shipped import place_of_language_model
from ifllm_hf.training.device import check_bf16
from ifllm_hf.training.optional_packages import check_packages
from ifllm_hf.training.setting import setting

METHODS = ("qlora", "lora", "full")
_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "learning_rate": 0,
    "weight_decay": 0,
}


def check_training(training: TrainingArguments) -> None:
    """Refuse what torch would refuse much later.

    Raises:
        ConfigError: A size below 1 or a rate below 0; bf16 is on and there is no GPU that
            supports it; or a package that a setting needs is missing.
    """
    for name, least in _LEAST.items():
        if getattr(training, name) < least:
            raise ConfigError(f"{name} is {getattr(training, name)}; expected {least} or more")
    check_bf16(training, "recipes/configs/smoke.yaml")
    check_packages(training)


@dataclass
class PolicyConfig(ModelConfig):  # type: ignore[misc, unused-ignore]
    """TRL's `ModelConfig` with QLoRA (NF4, double quantisation, bf16 compute) as the default.

    Departs from TRL: `method` sets `use_peft` and `load_in_4bit`; double quantisation is on;
    `lora_target_modules` is all-linear; `lora_dropout` is 0; `dtype` is bfloat16 for adapters and
    float32 for full fine-tuning (a bf16 weight would swallow most updates).
    """

    model_name_or_path: str | None = setting(
        None,
        "Model on the Hub, or a folder; known-truth: the one that comes with the package; "
        "tiny-random/llama and its like: random weights, for dry runs.",
    )
    dtype: str | None = setting(
        None,
        "Dtype of the weights, and of 4-bit compute. Default: bfloat16 with an adapter, float32 "
        "for full fine-tuning.",
        ("auto", "bfloat16", "float16", "float32"),
    )
    method: str = setting(
        "qlora",
        "qlora: float32 adapter on NF4 weights. lora: the same on bf16 weights. full: all of the "
        "weights.",
        METHODS,
    )
    load_in_4bit: bool = setting(False, "Set by method: qlora.")
    lora_target_modules: list[str] | None = setting(
        None, "Names of the layers that get an adapter. Default: all-linear."
    )
    use_bnb_nested_quant: bool = setting(True, "Double quantisation: quantise the NF4 scales too.")
    lora_dropout: float = setting(0.0, "No effect unless disable_dropout is false.")
    sft_adapter: str | None = setting(
        None,
        "LoRA adapter of an SFT stage on the same base. It is loaded twice, trained and frozen, "
        "and never merged.",
    )
    reference_model: str | None = setting(
        None,
        "With reference: base, the pretrained model when model_name_or_path is a full SFT "
        "checkpoint. Default: model_name_or_path without any adapter.",
    )
    public_name: str | None = setting(
        None,
        "Name of the base model to write into the adapter and its card when model_name_or_path is "
        "a local folder. Default: the folder's last part.",
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
        self.model_name_or_path = place_of_language_model(self.model_name_or_path)
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
