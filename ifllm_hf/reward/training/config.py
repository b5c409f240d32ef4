"""Every setting of a reward run, checked before anything is downloaded.

Four dataclasses, one flat YAML: on what (`RewardDataConfig`), which inputs the model reads
(`RewardInputConfig`), how to train (`RewardTrainingConfig`), and the backbone (TRL's `ModelConfig`:
name, dtype, LoRA, 4-bit). Importing this module imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import TrainingArguments

from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.device import check_bf16
from ifllm_hf.training.optional_packages import check_packages
from ifllm_hf.training.setting import setting

INPUTS: dict[str, dict[str, bool]] = {
    "text": {"use_text": True, "use_token_behavior": False, "use_trajectory": False},
    "text+tokens": {"use_text": True, "use_token_behavior": True, "use_trajectory": False},
    "text+trajectory": {"use_text": True, "use_token_behavior": False, "use_trajectory": True},
    "text+both": {"use_text": True, "use_token_behavior": True, "use_trajectory": True},
    "behavior": {"use_text": False, "use_token_behavior": False, "use_trajectory": True},
    "evidence": {"use_text": False, "use_token_behavior": False, "use_trajectory": False},
}
"""What a model reads, by name."""
TARGETS = ("pairwise", "pointwise", "mixed")


@dataclass(frozen=True)
class RewardDataConfig:
    """Which turns, what is learned from them, and what is held out."""

    dataset: str = setting("ifllm", "ifllm, a folder written by `ifllm prepare`, or a Hub dataset.")
    targets: str = setting(
        "pairwise",
        "pairwise: which of two answers was preferred. pointwise: ratings of single answers. "
        "mixed: both, and the ratings of the answers of pairs.",
        TARGETS,
    )
    labels: str | None = setting(
        None,
        "Parquet file of `ifllm label`, or its folder of shards: its side and confidence replace "
        "the clicks. Turns that it lacks are left out. Default: the clicks, confidence 1.",
    )
    eval_fold: int | None = setting(
        None, "Hold out the workers of this fold (0-4) and score them at the end."
    )
    cross_validate: bool = setting(
        False,
        "Train once per fold of workers and write predictions.parquet for `ifllm benchmark "
        "--predictions`, instead of one model.",
    )
    repeats: int = setting(1, "With cross_validate: how often to draw the folds anew.")
    max_turns: int | None = setting(None, "Use at most this many turns (for dry runs).")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: Values that contradict each other.
        """
        require_one_of("targets", self.targets, TARGETS)
        if self.cross_validate and self.targets == "pointwise":
            raise ConfigError(
                "cross_validate scores preferences, and targets: pointwise learns none; use "
                "targets: pairwise or mixed"
            )
        if self.cross_validate and self.eval_fold is not None:
            raise ConfigError("cross_validate holds out every fold in turn; remove eval_fold")
        if self.cross_validate and self.labels is not None:
            raise ConfigError(
                "cross_validate holds out every reader in turn, and the labels of the others were "
                "made by models that saw that reader's clicks; remove labels"
            )
        if self.repeats < 1:
            raise ConfigError(f"repeats is {self.repeats}; expected 1 or more")


@dataclass(frozen=True)
class RewardInputConfig:
    """What the model reads, and how large the behaviour paths are."""

    inputs: str = setting("text+both", "What the model reads.", INPUTS)
    evidence_head: bool = setting(
        True,
        "Score the length of the answer and the end of reading by a small linear head, fitted in "
        "closed form before anything is trained; the rest learns what it leaves.",
    )
    max_length: int = setting(512, "Tokens of question and answer; the rest is cut off.")
    max_ticks: int = setting(1024, "Longest trajectory; longer ones are joined in groups.")
    extra_channels: list[str] = field(
        default_factory=list,
        metadata={"help": "Numeric tick columns to read beside gaze and mouse (heart_rate, ...)."},
    )
    modality_dropout: float = setting(0.1, "See IFLLMConfig.modality_dropout.")
    behavior_dropout: float = setting(0.1, "See IFLLMConfig.behavior_dropout.")
    freeze_backbone: bool = setting(
        False,
        "Leave the text backbone as it is and train what is new: the score, the gates and the "
        "behaviour paths.",
    )
    text_dropout: float | None = setting(
        None,
        "Dropout inside the backbone; default: its own. 0 makes a step on a CPU a third faster.",
    )
    trust_remote_code: bool = setting(
        False, "Run the code that a text backbone brings along. Read it first."
    )
    trajectory_layers: int = setting(2, "Layers over the ticks.")
    trajectory_hidden_size: int = setting(64, "Width of these layers.")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: Unknown inputs, or sizes below 1.
        """
        require_one_of("inputs", self.inputs, INPUTS)
        if self.inputs == "evidence" and not self.evidence_head:
            raise ConfigError("inputs: evidence is the evidence head alone; leave evidence_head on")
        for name in ("max_length", "max_ticks"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more")


@dataclass
class RewardTrainingConfig(TrainingArguments):  # type: ignore[misc, unused-ignore]
    """transformers' `TrainingArguments`, with defaults for small sets of pairs.

    Departs from transformers: `remove_unused_columns` is false (behaviour would be removed),
    `label_names` is the confidence, batches hold answers of similar length, `weight_decay` is 0.01,
    the learning rate of a backbone is 3e-5. `per_device_train_batch_size` counts pairs (or single
    answers), so a step sees twice as many answers.
    """

    learning_rate: float = setting(3e-5, "Of the text backbone (or its adapter).")
    behavior_learning_rate: float = setting(
        1e-3, "Of everything that is new: behaviour paths, gates and score."
    )
    weight_decay: float = setting(0.01, "Of AdamW.")
    validation_share: float = setting(
        0.15,
        "Share of the training workers that is kept aside, inside the fold, to stop early and "
        "pick the best epoch. 0: train to the end.",
    )
    patience: int = setting(2, "Epochs without a better validation loss before stopping.")
    trajectory_warmup_epochs: float = setting(
        0.0,
        "Epochs that the trajectory encoder is trained alone, without text, on the same rows "
        "first: it needs more of them than the text, and they are cheap.",
    )
    remove_unused_columns: bool = setting(False, "Stays false.")
    train_sampling_strategy: str = setting("group_by_length", "See TrainingArguments.")

    def __post_init__(self) -> None:
        """Check the settings and tie early stopping to the validation loss.

        Raises:
            ConfigError: A share outside [0, 1), columns that would be removed, a push, bf16 without
                a GPU that supports it, or a package that is missing.
        """
        if not 0 <= self.validation_share < 1:
            raise ConfigError(
                f"validation_share is {self.validation_share}; expected a share in [0, 1)"
            )
        if self.remove_unused_columns:
            raise ConfigError("remove_unused_columns would remove the behaviour; leave it false")
        if self.push_to_hub:
            raise ConfigError(
                "push_to_hub is on, but a reward model goes up with its code and its card, which "
                "training does not write; remove it, and run when training is done: "
                f"ifllm push model ORG/NAME --from {self.output_dir}"
            )
        check_bf16(self, "recipes/configs/reward-smoke.yaml")
        check_packages(vars(self))
        self.label_names = ["confidence"]
        self.prediction_loss_only = True
        if self.validation_share:
            self.eval_strategy = self.save_strategy = "epoch"
            self.load_best_model_at_end = True
            self.metric_for_best_model, self.greater_is_better = "eval_loss", False
        super().__post_init__()
