"""Settings of the IFLLM reward model. Travels with a model: imports transformers alone."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

TOKEN_CHANNELS = tuple(
    f"{channel}_{what}"
    for what in ("dwell_ms", "visits", "first_ms", "last_ms", "regressions")
    for channel in ("gaze", "mouse")
)
"""What happened on a token, by default."""
CHANNELS = (
    *(
        f"{channel}_{what}"
        for channel in ("gaze", "mouse")
        for what in ("on_this", "on_other", "on_neither", "char_share")
    ),
    "until_end_ms",
)
"""What a tick says, seen from the answer that is scored, by default."""
EVIDENCE_CHANNELS = ("mouse_on_this", "gaze_on_this", "mouse_on_other", "gaze_on_other")
"""What the evidence head reads of a tick."""
CONTEXT = ("answer_chars", "all_answers_chars", "question_chars", "turn", "answers")
"""What `context` says of an answer, in order; 0 unknown. `answers` is how many there are."""
LATE_COLUMNS = tuple(
    f"{channel}_late_{share}pct"
    for channel in ("mouse", "either", "pooled")
    for share in (10, 20, 30)
)
"""The measures of the end of reading, and of `trajectory_history`, in order."""


class IFLLMConfig(PreTrainedConfig):  # type: ignore[misc, unused-ignore]
    """Settings of a reward model that reads an answer and its reader.

    Each of the three inputs can be turned off for good (`use_*`) or be missing in a call.

    Attributes:
        text_config: Config of the text backbone; any model that `AutoModel` knows.
        token_channels: Names of the channels of `token_behavior`, in order.
        channels: Names of the channels of `trajectory`, in order. Any numeric tick column can be
            named; the processor must be told the same names.
        use_text: Whether there is a text backbone.
        use_token_behavior: Whether behaviour is added to the tokens; needs `use_text`.
        use_trajectory: Whether the ticks are read.
        evidence_head: Whether the length of the answer and the end of reading are scored by a
            small linear head beside the text and the trajectory (`modeling_evidence_ifllm`).
        token_hidden_size: Width of the layer between token channels and token embeddings.
        trajectory_hidden_size: Width of the trajectory encoder.
        trajectory_layers: Its layers.
        trajectory_heads: Its attention heads.
        trajectory_patch: Ticks that are averaged, after an embedding of their own, before
            attention.
        modality_dropout: In training, the probability that a pair loses its text (where there is a
            trajectory), its token behaviour, its trajectory, or one channel of either; drawn
            independently for each.
        behavior_dropout: Ordinary dropout inside the behaviour paths.
        score_dropout: Ordinary dropout before the score.
        pooling: `mean` over tokens, or `last` token; by default what suits the backbone.
        likert_head: Whether a second head predicts the rating of the single answer.
        likert_weight: Weight of its squared error beside the preference loss.
        initializer_range: Standard deviation of the score's weights.
    """

    model_type = "ifllm"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }

    text_config: Any = None  # a dict or None becomes a config
    token_channels: list[str] | tuple[str, ...] = TOKEN_CHANNELS
    channels: list[str] | tuple[str, ...] = CHANNELS
    use_text: bool = True
    use_token_behavior: bool = True
    use_trajectory: bool = True
    evidence_head: bool = False
    token_hidden_size: int = 32
    trajectory_hidden_size: int = 64
    trajectory_layers: int = 2
    trajectory_heads: int = 4
    trajectory_patch: int = 8
    modality_dropout: float = 0.1
    behavior_dropout: float = 0.1
    score_dropout: float = 0.0
    pooling: str | None = None
    likert_head: bool = False
    likert_weight: float = 0.5
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in what follows from the backbone, and check.

        Raises:
            ValueError: Settings that contradict each other.
        """
        self.num_labels = kwargs.pop("num_labels", 1)
        self.check_labels()
        super().__post_init__(**kwargs)
        self.token_channels, self.channels = list(self.token_channels), list(self.channels)
        if __name__.startswith("ifllm_hf."):
            # For those without the package; here `pipeline` knows the task, and need not ask for
            # trust in code of the repository.
            self.__dict__.pop("custom_pipelines", None)
        if self.pooling is None:
            # Not at the top: that module registers our models, which import this one.
            from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

            masked = self.text_config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
            self.pooling = "mean" if masked else "last"
        self._check()

    @property
    def num_labels(self) -> int:
        """One: an answer has a score, not classes."""
        return 1

    @num_labels.setter
    def num_labels(self, number: int) -> None:
        if number != 1:
            raise ValueError(f"num_labels is {number}; a reward model has one score, so expected 1")
        if getattr(self, "id2label", None) is None:
            self.id2label: Any
            self.label2id: Any
            self.id2label, self.label2id = {0: "LABEL_0"}, {"LABEL_0": 0}

    def check_labels(self) -> None:
        """Refuse what would make of one score a choice between classes.

        Raises:
            ValueError: There are several labels, or the problem is a classification.
        """
        if len(self.id2label) != 1:
            raise ValueError(
                f"id2label has {len(self.id2label)} labels; a reward model has one score"
            )
        if self.problem_type not in (None, "regression"):
            raise ValueError(
                f"problem_type is {self.problem_type!r}; a reward model has one score, so expected "
                "'regression' or none"
            )

    def _check(self) -> None:
        if self.pooling not in ("mean", "last"):
            raise ValueError(f"pooling is {self.pooling!r}; expected 'mean' or 'last'")
        if not (self.use_text or self.use_trajectory or self.evidence_head):
            raise ValueError(
                "use_text, use_trajectory and evidence_head are all off; nothing is left to read"
            )
        if self.use_token_behavior and not self.use_text:
            raise ValueError(
                "use_token_behavior needs use_text: without tokens there is nothing to align with; "
                "set use_token_behavior=False"
            )
        for name in ("token_channels", "channels"):
            names = getattr(self, name)
            if len(set(names)) != len(names):
                raise ValueError(f"{name} names a channel twice: {names}")
        if not self.token_channels and self.use_token_behavior:
            raise ValueError("token_channels is empty; set use_token_behavior=False")
        if not self.channels and self.use_trajectory:
            raise ValueError("channels is empty; set use_trajectory=False")
        lacking = [name for name in EVIDENCE_CHANNELS if name not in self.channels]
        if self.evidence_head and lacking:
            raise ValueError(
                f"the evidence head reads {', '.join(lacking)}, and channels is {self.channels}; "
                "add them, or set evidence_head=False"
            )
        if self.likert_head and not (self.use_text or self.use_trajectory):
            raise ValueError("likert_head needs use_text or use_trajectory: the head has no states")
        if self.trajectory_hidden_size % (2 * self.trajectory_heads):
            raise ValueError(
                f"trajectory_hidden_size is {self.trajectory_hidden_size}; expected a multiple of "
                f"twice trajectory_heads ({self.trajectory_heads})"
            )
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"modality_dropout is {self.modality_dropout}; expected [0, 1)")


IFLLMConfig.register_for_auto_class()
