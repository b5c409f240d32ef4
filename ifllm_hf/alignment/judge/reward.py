"""A local reward model as judge: it scores each answer by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ifllm_hf.alignment.judge.config import JudgeSettings
from ifllm_hf.alignment.judge.verdict import BASELINE, Comparison, Judged, Verdict, winner_of
from ifllm_hf.alignment.policy.load import check_access, load_tokenizer, weights_id
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.pretrained.heads import ALL, Heads
from ifllm_hf.training.pretrained import loading, model_positions
from ifllm_hf.training.run_record import public_name

_OURS = "ifllm"
TOO_LONG_FOR_IT = "too long for the reward model"


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
        self._heads: Heads | None = None
        self._head = ALL
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
        of_head = {} if self._head == ALL else {"head": self._head}
        return {"reward": weights_id(self.settings.model), **of_head}

    def keep_apart_from(self, readers: Collection[str]) -> None:
        """Judge the questions of some readers by a head that has not learned from them.

        A model that does not say whom it has learned from is taken to know none of them.

        Raises:
            ConfigError: Every head has learned from one of them.
        """
        self._heads = Heads.of(str(self.settings.model))
        if self._heads is None:
            return
        seen = {
            head: sorted(r for r in readers if self._heads.has_seen(head, r))
            for head in sorted(self._heads.seen)
        }
        free = [head for head, known in seen.items() if not known]
        if not free:
            named = ", ".join(seen[ALL][:3])
            raise ConfigError(
                f"{public_name(self.settings.model)} has learned from {len(seen[ALL])} of "
                f"{len(readers)} readers whose questions it is to judge ({named}); judge by a "
                "model that was trained without them (eval_fold), or set prompts.fold to readers "
                "that it has not seen"
            )
        self._head = free[0]

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
                one, two = next(rewards), next(rewards)
                if one is None or two is None:
                    yield Judged(comparison, first, None, TOO_LONG_FOR_IT, refused=True)
                    continue
                verdict = Verdict(comparison.prompt_id, first, winner_of(one, two), (one, two))
                yield Judged(comparison, first, verdict)

    def rewards(self, pairs: Sequence[tuple[str, str]]) -> list[float | None]:
        """Return the reward of each question and answer; None where the model cannot read it all.

        Raises:
            ConfigError: The model cannot be loaded, or does not give one number.
            DataError: A reward is NaN.
        """
        import torch

        model, reader = self._load()
        room = model_positions(model)
        fits = list(range(len(pairs)))
        values: list[float | None] = [None] * len(pairs)
        if model.config.model_type == _OURS:  # its processor cuts at the length it was trained with
            batch = reader([q for q, _ in pairs], [[a] for _, a in pairs], return_tensors="pt")
        else:
            tokens = _tokens(reader, pairs)
            lengths = [len(ids) for ids in tokens["input_ids"]]
            fits = [i for i in fits if room is None or lengths[i] <= room]
            if not fits:
                return values
            kept = {name: [column[i] for i in fits] for name, column in tokens.items()}
            batch = reader.pad(kept, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch.to(model.device)).logits.float()
        if logits.shape != (len(fits), 1):
            raise ConfigError(
                f"{self.settings.model} gives {tuple(logits.shape)} for {len(fits)} answers; "
                "expected one number each (num_labels 1)"
            )
        for i, value in zip(fits, logits[:, 0].tolist(), strict=True):
            if value != value:
                raise DataError(
                    f"{self.settings.model} gave a reward that is NaN; check its weights"
                )
            values[i] = value
        return values

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForSequenceClassification, AutoProcessor

            name = str(self.settings.model)
            check_access(name)
            trusted, by = self.settings.trust_remote_code, "judge.trust_remote_code"
            with loading(name, trust_remote_code=trusted, setting=by) as options:
                model = AutoModelForSequenceClassification.from_pretrained(name, **options)
            if model.config.model_type == _OURS:
                reader = AutoProcessor.from_pretrained(name)
            else:
                reader = load_tokenizer(
                    name,
                    None,
                    of=name,
                    writes=False,
                    trust_remote_code=trusted,
                    trusted_by=by,
                )
                if model.config.pad_token_id is None:
                    model.config.pad_token_id = reader.pad_token_id
            device = "cuda" if torch.cuda.is_available() else "cpu"
            if self._heads is not None:
                self._heads.use(self._head, model)
            self._loaded = model.to(device).eval(), reader
        return self._loaded


def _tokens(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    """Return the tokens of questions with their answers, not padded."""
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
    return tokens
