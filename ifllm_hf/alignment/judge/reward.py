"""A local reward model as judge: it scores each answer by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.verdict import BASELINE, Comparison, Judged, Verdict, winner_of
from ifllm_hf.alignment.policy.load import check_access, load_tokenizer, weights_id
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.training.run_record import public_name

_OURS = "ifllm"


class RewardJudge:
    """Any `AutoModelForSequenceClassification` with one output; the larger reward wins.

    Our own reward model reads question and answer through its processor, without behaviour: nobody
    has read these answers. For others, a conversation goes through the tokenizer's chat template if
    it has one, else question and answer are given as a pair of texts.
    """

    pointwise = True  # a reward is of one answer

    def __init__(self, settings: JudgeSettings) -> None:
        """Keep the settings; the model is loaded when it is first needed."""
        self.settings = settings
        self._loaded: tuple[Any, Any] | None = None

    @property
    def protocol(self) -> str:
        """How it judges."""
        return (
            f"reward model {public_name(self.settings.model)}, text only, each answer by itself; "
            "the larger reward wins. Rewards have no zero, so no relative improvement is given"
        )

    @property
    def identity(self) -> Mapping[str, Any]:
        """What a verdict depends on beside question and answers."""
        return {"reward": weights_id(self.settings.model)}

    def orders(self, comparison: Comparison) -> Sequence[str]:
        """Return one order: a reward does not know of the other answer."""
        return (BASELINE,)

    def judge(
        self, asked: Sequence[tuple[Comparison, str]], *, worked_before: bool = False
    ) -> Iterator[Judged]:
        """Score a batch at a time.

        Raises:
            ConfigError: The model cannot be loaded, or does not give one number.
            DataError: A reward is NaN.
        """
        half = max(1, self.settings.batch_size // 2)
        for start in range(0, len(asked), half):
            batch = asked[start : start + half]
            rewards = iter(
                self.rewards(
                    [(c.question, answer) for c, first in batch for answer in c.in_order(first)]
                )
            )
            for comparison, first in batch:
                scores = (next(rewards), next(rewards))
                verdict = Verdict(comparison.prompt_id, first, winner_of(*scores), scores)
                yield Judged(comparison, first, verdict)

    def rewards(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the reward of each question and answer."""
        import torch

        model, reader = self._load()
        if model.config.model_type == _OURS:
            read = reader([q for q, _ in pairs], [[a] for _, a in pairs], return_tensors="pt")
        else:
            read = _tokens(reader, pairs)
        longest = read["input_ids"].shape[1]
        text_config = getattr(model.config, "text_config", model.config)
        room = getattr(text_config, "max_position_embeddings", None)
        if room is not None and longest > room:
            raise DataError(
                f"a question with its answer has {longest} tokens, but {self.settings.model} reads "
                f"{room}; lower generation.max_new_tokens, or choose another judge"
            )
        with torch.inference_mode():
            logits = model(**read.to(model.device)).logits.float()
        if logits.shape != (len(pairs), 1):
            raise ConfigError(
                f"{self.settings.model} gives {tuple(logits.shape)} for {len(pairs)} answers; "
                "expected one number each (num_labels 1)"
            )
        values = [float(value) for value in logits[:, 0]]
        if any(value != value for value in values):
            raise DataError(f"{self.settings.model} gave a reward that is NaN; check its weights")
        return values

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoProcessor

            name = str(self.settings.model)
            check_access(name)
            model = AutoModelForSequenceClassification.from_pretrained(name)
            if model.config.model_type == _OURS:
                reader = AutoProcessor.from_pretrained(name)
            else:
                reader = load_tokenizer(name, None, of=name)
                if model.config.pad_token_id is None:
                    model.config.pad_token_id = reader.pad_token_id
            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._loaded = model.to(device).eval(), reader
        return self._loaded


def _tokens(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    """Return a padded batch of questions with their answers."""
    if tokenizer.chat_template is None:
        tokens = tokenizer([q for q, _ in pairs], [a for _, a in pairs])
    else:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
                tokenize=False,
            )
            for q, a in pairs
        ]
        tokens = tokenizer(texts, add_special_tokens=False)
    return tokenizer.pad(tokens, return_tensors="pt")
