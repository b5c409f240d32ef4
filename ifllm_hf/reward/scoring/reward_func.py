"""Our reward in TRL's trainers: `GRPOTrainer`, `RLOOTrainer` and `OnlineDPOTrainer`.

They take the folder of a reward model too, but write question and answer by a chat template or one
after the other, which is not how this model was trained; and they read samples that nobody has
watched anyone read, so that the reward is of the text and its length alone.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.scoring.load_scorer import load_scorer, place_of_scorer

logger = logging.getLogger(__name__)

Messages = Sequence[Mapping[str, Any]]


class AnswerReward:
    """A reward function as TRL calls it; made by `reward_func`.

    Attributes:
        model: The reward model, in evaluation mode.
        processor: Its processor.
        batch_size: Answers that are scored at once.
    """

    def __init__(
        self, model: Any, processor: Any, *, name: str, batch_size: int, stays: bool
    ) -> None:
        """Keep the parts; `stays` leaves the model on the device where it is."""
        self.model, self.processor, self.batch_size = model, processor, batch_size
        self.__name__ = name  # TRL logs `rewards/NAME/mean`
        self._stays = stays

    def __call__(
        self,
        prompts: Sequence[str | Messages],
        completions: Sequence[str | Messages],
        **columns: Any,
    ) -> list[float | None]:
        """Score completions, each by itself.

        Args:
            prompts: Texts, or conversations that end with the user's turn: that turn is the
                question, what stands before it is not read.
            completions: Texts, or messages of which the last one is the answer.
            **columns: What TRL passes beside them (`completion_ids`, columns of the dataset,
                `trainer_state`); not read.

        Returns:
            A reward for each, what `pipeline("implicit-reward")` calls `score`; None where
            messages do not end in a text of the assistant, such as a call of a tool.

        Raises:
            DataError: A prompt or completion that is neither; or a reward that is not finite.
        """
        questions = [_question(prompt, row) for row, prompt in enumerate(prompts)]
        answers = [_answer(completion, row) for row, completion in enumerate(completions)]
        if len(questions) != len(answers):
            raise DataError(f"{len(questions)} prompts for {len(answers)} completions")
        rewards: list[float | None] = [None] * len(answers)
        known = [(row, answer) for row, answer in enumerate(answers) if answer is not None]
        # Those of similar length together: less of a batch is padding.
        known.sort(key=lambda one: len(questions[one[0]]) + len(one[1]))
        for start in range(0, len(known), self.batch_size):
            some = known[start : start + self.batch_size]
            scores = self._score([questions[row] for row, _ in some], [[text] for _, text in some])
            for (row, _), score in zip(some, scores, strict=True):
                if not math.isfinite(score):
                    raise DataError(
                        f"completion {row}: the reward is {score}; check the weights of "
                        f"{self.__name__}"
                    )
                rewards[row] = score
        return rewards

    def _score(self, questions: list[str], answers: list[list[str]]) -> list[float]:
        import torch

        if not self._stays and torch.cuda.is_available():
            self.model.to("cuda")  # by now the trainer has given this process its GPU
            self._stays = True
        batch = self.processor(questions, answers, return_tensors="pt")
        with torch.inference_mode():
            scores: list[float] = self.model(**batch.to(self.model.device)).logits[:, 0].tolist()
        return scores


def reward_func(
    model: Any = None, *, processor: Any = None, name: str | None = None, batch_size: int = 16
) -> AnswerReward:
    """Make a reward model of this package a reward function for TRL.

    Nobody is watched reading what a policy writes: the reward is of the text and its length. The
    model that is shipped reads no text, so that alone it rewards length.

        trainer = GRPOTrainer(policy, reward_funcs=ifllm_hf.reward_func("outputs/reward"), ...)

    Args:
        model: A folder, a model on the Hub, or a loaded `IFLLMForRewardModeling`, which stays where
            it is; default: the one that comes with the package.
        processor: Of a loaded model; default: the one beside its weights.
        name: What TRL calls it in logs; default: the last part of the model's name.
        batch_size: Answers that are scored at once.

    Returns:
        A function for `reward_funcs`.

    Raises:
        ConfigError: The model cannot be loaded, or has nothing to score an unread answer by.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected 1 or more")
    stays = not (model is None or isinstance(model, str | os.PathLike))
    place = str(model.config.name_or_path) if stays else str(place_of_scorer(model))
    if not stays:
        model, loaded = load_scorer(place)
        processor = processor or loaded
    elif processor is None:
        if not place:
            raise ConfigError("the model was not loaded from anywhere; give its processor too")
        _, processor = load_scorer(place)
    config = model.config
    if not config.use_text and not config.evidence_head:
        raise ConfigError(
            f"{place or 'the model'} reads behaviour alone, and nobody has read what a policy "
            "writes; take a model that reads text"
        )
    shown = name or Path(place).name or "ifllm"
    if not config.use_text:
        logger.warning(
            "%s reads no text: of an answer that nobody was watched reading it knows the length, "
            "and a policy trained on it learns to write more; recipes/reward.py trains one that "
            "reads text",
            shown,
        )
    return AnswerReward(model.eval(), processor, name=shown, batch_size=batch_size, stays=stays)


def _question(prompt: str | Messages, row: int) -> str:
    if isinstance(prompt, str):
        return prompt
    last = prompt[-1] if prompt else {}
    text = _text(last, row, "prompt")
    if last.get("role") != "user" or text is None:
        raise DataError(
            f"prompt {row}: ends with a turn of {last.get('role')!r}; expected a text, or messages "
            "that end with one of the user"
        )
    return text


def _answer(completion: str | Messages, row: int) -> str | None:
    if isinstance(completion, str):
        return completion
    last = completion[-1] if completion else {}
    return _text(last, row, "completion") if last.get("role") == "assistant" else None


def _text(message: Any, row: int, field: str) -> str | None:
    """Return the text of a message: a string, or parts that are all text; None without any."""
    if not isinstance(message, Mapping):
        raise DataError(
            f"{field} {row}: a {type(message).__name__} where a message was expected; expected a "
            "text, or a list of {'role': ..., 'content': ...}"
        )
    content = message.get("content")
    if content is None or isinstance(content, str):
        return content
    parts = [part.get("text") if isinstance(part, Mapping) else None for part in content]
    if not all(isinstance(part, str) for part in parts):
        raise DataError(
            f"{field} {row}: its content has a part that is no text; the reward reads text alone"
        )
    return "".join(map(str, parts))
