"""Which pairs a run reads, and how a question looks to the model; needs neither torch nor TRL."""

from __future__ import annotations

from dataclasses import dataclass, field

from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.training.setting import setting

HISTORIES = ("none", "chosen")
PROMPT_FORMATS = ("template", "chat")
JUDGE_FOLD = 3  # of the release: its 37 readers judge and train nothing; docs/dpo.md says why


@dataclass(frozen=True)
class PairSelection:
    """Which pairs are trained on, and which of them are held out."""

    dataset: str = field(
        metadata={
            "help": "ifllm, a .parquet/.jsonl/.json file, a folder, a Hub dataset, or made-up "
            "(for dry runs)."
        }
    )
    dataset_config: str | None = setting(
        None, "Config of the dataset. Default for ifllm: preferences."
    )
    dataset_split: str = setting("train", "Split of the dataset.")
    eval_fold: int | None = setting(
        None, "Hold out the pairs whose column 'fold' has this value (whole workers)."
    )
    labeller_may_see_judged_readers: bool = setting(
        False,
        "For experiments that nobody judges: hold readers out although their clicks trained the "
        "models that labelled the others. Printed, and written into the card.",
    )
    min_confidence: float = setting(0.5, "Drop pairs below this confidence; they are counted.")
    max_pairs: int | None = setting(None, "Use at most this many training pairs (for dry runs).")


@dataclass(frozen=True)
class PromptFormat:
    """How a question looks to a model: part of the YAML of a recipe, and of the `run.json`."""

    history: str = setting(
        "none",
        "none: the current question only. chosen: the past of the side that was chosen (column "
        "history_chosen); both answers are then scored in that past.",
        HISTORIES,
    )
    suffix: bool = setting(
        False, "Append ' respond using bullet points' where it was sent (column bullet_suffix)."
    )
    prompt_format: str = setting(
        "template",
        "template: prompt_template. chat: the chat template of the tokenizer.",
        PROMPT_FORMATS,
    )
    prompt_template: str = setting(
        "Question: {prompt}\n\nAnswer:", "How one question is written; contains {prompt} once."
    )
    response_prefix: str = setting(" ", "Put before an answer, in template format.")
    turn_separator: str = setting("\n\n", "Put between past turns, in template format.")
    eos_token: str | None = setting(
        None, "Token that ends an answer. Default: the tokenizer's own."
    )


@dataclass(frozen=True)
class PairDataConfig(PromptFormat, PairSelection):
    """Which pairs, which of them are held out, and how a prompt looks to the model."""

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
