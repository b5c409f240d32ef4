"""`pipeline("implicit-reward")`: question, answers and ticks in, scores out.

Travels with a model: imports its siblings, torch and transformers alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from itertools import chain
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from .data_error import DataError

PARTS = ("length", "late_reading")
"""What an evidence head says of its score, in the order of the model's output."""
BEHAVIOR_MASKS = ("token_behavior_mask", "trajectory_observed", "trajectory_mask")
"""All zeros, they leave the text alone."""
FIELDS = ("question", "answers", "ticks")
_FOR_SEVERAL = "for several questions pass a list of mappings"


class ImplicitRewardPipeline(Pipeline):  # type: ignore[misc]
    """Scores the answers to a question by what they say and by how they were read.

    Example:
        >>> scorer = pipeline("implicit-reward", model="ORG/NAME")  # doctest: +SKIP
        >>> row = load_dataset("ifllm", split="train")[5]  # doctest: +SKIP
        >>> scorer(row["prompt"], [row["response_a"], row["response_b"]], row)  # doctest: +SKIP
        [{'score': 0.4, 'behavior': 0.1, 'preference': 0.6}, {'score': 0.0, ...}]
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False
    in_words: Any = None
    """How `why` says it; set by the package, which does not travel with a model."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Put model and processor together.

        Raises:
            DataError: The processor's channels are not the model's.
        """
        super().__init__(*args, **kwargs)
        self.processor.check_config(self.model.config)

    def __call__(self, question: Any, answers: Any = None, ticks: Any = None, **kwargs: Any) -> Any:
        """Score answers.

        Args:
            question: A text, messages, or None; or all in one: a mapping with `question`, `answers`
                and `ticks`, or a list, `Dataset` or generator of such mappings.
            answers: One text or several, in the order of the sides a, b, ...
            ticks: Tick lists by column, such as a row of the dataset; None scores the text alone.
            kwargs: `include_contaminated_ticks`, `history` (of one question: rows of the reader's
                earlier turns), and what every pipeline takes: `batch_size`
                questions are read at once, `num_workers` prepare them.

        Returns:
            Per answer a mapping: `score`; `behavior`, the part of the score that comes from the
            ticks (score with them minus score without); `preference`, the probability that this
            answer is preferred to the others (Bradley-Terry; None for a single answer). Of a model
            with an evidence head also `length` and `late_reading`, the parts of the score that come
            from the length of the answer and from where the end of reading rested. A list of such
            lists for a list of mappings, an iterator of them for a generator or a `Dataset` of
            torch.

        Raises:
            DataError: Input that cannot be scored; names the field.
            ValueError: An argument that nobody knows.
        """
        if answers is not None or ticks is not None:
            question = {"question": question, "answers": answers, "ticks": ticks}
        several: Any = question
        if isinstance(question, Sized) and not isinstance(question, str | Mapping):
            if not len(question):
                return []  # transformers looks at the first one
            several = question if isinstance(question, Dataset) else list(several)
        return super().__call__(several, **kwargs)

    def why(self, question: Any, answers: Any, ticks: Any = None, **kwargs: Any) -> list[str]:
        """Say what moved the lead of one of two answers most, the largest part first.

        Args:
            question: As in a call.
            answers: Two texts.
            ticks: As in a call.
            kwargs: `history`: rows of the reader's earlier turns.

        Returns:
            Sentences, such as "The mouse stayed on B during the last tenth of reading: +8 points
            for B", points being percentage points of the probability that B is preferred.

        Raises:
            DataError: As a call; the model has no evidence head; or the package is not installed,
                without which a model scores, but says nothing.
        """
        if self.in_words is None:
            raise DataError(
                "what moved a score is said by the package ifllm_hf, which has not been imported; "
                "install it and `import ifllm_hf` first"
            )
        told: list[str] = self.in_words(
            self.model, self.processor, question, answers, ticks, **kwargs
        )
        return told

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save model, processor and this file."""
        super().save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def _sanitize_parameters(
        self,
        include_contaminated_ticks: bool | None = None,
        history: Any = None,
        **kwargs: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if kwargs:
            raise ValueError(
                f"unknown argument {', '.join(map(repr, kwargs))}; this pipeline takes "
                "include_contaminated_ticks, history, batch_size and num_workers"
            )
        given = {"include_contaminated_ticks": include_contaminated_ticks, "history": history}
        return {k: v for k, v in given.items() if v is not None}, {}, {}

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Any:
        """Iterate over questions; the answers to `batch_size` of them are read at once.

        A question has several rows, so what transformers does to a batch does not fit: it pads the
        first dimension, and takes one row for one input.
        """
        if isinstance(inputs, Sized):
            questions: Any = PipelineDataset(inputs, self.preprocess, preprocess_params)
        else:
            questions = PipelineIterator(inputs, self.preprocess, preprocess_params)
            num_workers = min(num_workers, 1)  # each would read all of it
        batches = DataLoader(
            questions, batch_size=batch_size, num_workers=num_workers, collate_fn=self._join
        )
        scored = PipelineIterator(batches, self.forward, forward_params, batch_size)
        return PipelineIterator(scored, self.postprocess, postprocess_params)

    def run_single(
        self,
        inputs: Any,
        preprocess_params: dict[str, Any],
        forward_params: dict[str, Any],
        postprocess_params: dict[str, Any],
    ) -> Any:
        """Score the answers to one question."""
        rows = self._join([self.preprocess(inputs, **preprocess_params)])
        return self.postprocess(self.forward(rows, **forward_params), **postprocess_params)

    def preprocess(self, inputs: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Encode the answers to one question, one row each."""
        if not isinstance(inputs, Mapping):
            raise DataError(
                f"an input is a {type(inputs).__name__}; expected a mapping with question and "
                "answers, or both as arguments"
            )
        unknown = sorted(set(inputs) - set(FIELDS))
        if unknown:
            raise DataError(f"unknown field {unknown[0]!r}; expected {', '.join(FIELDS)}")
        question, answers = inputs.get("question"), inputs.get("answers")
        if not (
            question is None
            or isinstance(question, str)
            or all(isinstance(message, Mapping) for message in question)
        ):
            raise DataError(f"field 'question': expected a text or messages; {_FOR_SEVERAL}")
        sides = [answers] if isinstance(answers, str) else answers
        if (
            not isinstance(sides, list | tuple)
            or not sides
            or not all(side is None or isinstance(side, str) for side in sides)
        ):
            raise DataError(f"field 'answers': expected one text or several; {_FOR_SEVERAL}")
        encoded = self.processor(question, sides, inputs.get("ticks"), **kwargs)
        config = self.model.config
        if not (
            (config.use_text and "input_ids" in encoded)
            or (config.evidence_head and any(side is not None for side in sides))
            or ((config.use_trajectory or config.evidence_head) and "trajectory" in encoded)
        ):
            raise DataError(
                "nothing to read: no answer has text, or the model reads none, and there are no "
                "ticks that it could read"
            )
        return [
            {name: values[row] for name, values in encoded.items()} for row in range(len(sides))
        ]

    def _join(self, questions: list[list[dict[str, Any]]]) -> dict[str, Any]:
        rows = self.processor.pad(list(chain.from_iterable(questions)))
        return {**rows, "sides": [len(question) for question in questions]}

    def _forward(self, model_inputs: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return the scores of each question, and what behaviour adds to them."""
        rows = dict(model_inputs)
        sides = rows.pop("sides")
        # Masks of zeros rather than no tensors: a model without text has to be given something.
        blind = {
            name: torch.zeros_like(value) if name in BEHAVIOR_MASKS else value
            for name, value in rows.items()
        }
        out = self.model(**rows)
        score = out.logits[:, 0]
        without = self.model(**blind).logits[:, 0] if blind.keys() & set(BEHAVIOR_MASKS) else score
        found = {"score": score, "behavior": score - without}
        if out.evidence is not None:
            found |= dict(zip(PARTS, out.evidence.unbind(1), strict=True))
        return {name: list(values.split(sides)) for name, values in found.items()}

    def postprocess(
        self, model_outputs: dict[str, Any], **kwargs: Any
    ) -> list[dict[str, float | None]]:
        """Return plain numbers."""
        columns: dict[str, list[Any]] = {
            n: v[0].double().tolist() for n, v in model_outputs.items()
        }
        score = model_outputs["score"][0].double()
        columns["preference"] = score.softmax(0).tolist() if len(score) > 1 else [None]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
