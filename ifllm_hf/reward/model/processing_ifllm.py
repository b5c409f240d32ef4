"""From question, answers and raw ticks to the tensors of the reward model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from transformers import BatchFeature
from transformers.processing_utils import ProcessorMixin
from transformers.utils import PaddingStrategy

from .behavior_ticks import SIDES
from .data_error import DataError
from .evidence_inputs import HISTORY, TURN, WIDTHS, context_rows, habit, history_rows
from .feature_extraction_ifllm import IFLLMFeatureExtractor
from .padding import padding_mode, refuse_ragged
from .token_alignment import (
    LAYOUTS,
    AnswerTokens,
    Question,
    choose_layout,
    tokenize_answers,
)

Columns = dict[str, list[Any]]

_DTYPES = {
    "input_ids": np.int64,
    "attention_mask": np.int64,
    "token_behavior": np.float32,
    "token_behavior_mask": np.bool_,
    "trajectory": np.float32,
    "trajectory_observed": np.bool_,
    "trajectory_time_ms": np.float32,
    "trajectory_mask": np.bool_,
    "context": np.float32,
    HISTORY: np.float32,
}
_BY_TOKEN = ("input_ids", "attention_mask", "token_behavior", "token_behavior_mask")
_MASKS = {"trajectory_observed": "trajectory", "token_behavior_mask": "token_behavior"}
_FIT_BATCH = 64


class IFLLMProcessor(ProcessorMixin):  # type: ignore[misc]
    """Tokenizer and feature extractor of the reward model in one.

    Attributes:
        tokenizer: Any fast tokenizer.
        feature_extractor: Makes the behaviour tensors and holds their normalisation.
        layout: How question and answer become one sequence: `chat`, `pair` or `plain`; by default
            what the tokenizer is made for.
        max_length: Longest sequence in tokens; what is cut is the tokenizer's `truncation_side`.
        chat_template: Of the layout `chat`, instead of the tokenizer's.

    Example:
        >>> batch = processor(  # doctest: +SKIP
        ...     "Why is the sky blue?", ["Rayleigh scattering.", "It reflects the sea."],
        ...     ticks=row, return_tensors="pt")
        >>> model(**batch).rewards  # two rows, doctest: +SKIP
    """

    def __init__(
        self,
        tokenizer: Any = None,
        feature_extractor: Any = None,
        layout: str | None = None,
        max_length: int | None = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Put both parts together.

        Raises:
            DataError: `layout` is none of those known.
        """
        super().__init__(
            tokenizer=tokenizer,
            feature_extractor=feature_extractor or IFLLMFeatureExtractor(),
            chat_template=chat_template,
            **kwargs,
        )
        self.layout = layout or ("chat" if chat_template else choose_layout(tokenizer))
        if self.layout not in LAYOUTS:
            raise DataError(f"layout is {layout!r}; expected one of {', '.join(LAYOUTS)}.")
        self.max_length = max_length or min(tokenizer.model_max_length, 1024)

    def __call__(
        self,
        question: Question | Sequence[Question] = None,
        answers: Any = None,
        ticks: Any = None,
        *,
        padding: bool | str | None = None,
        return_tensors: str | None = None,
        include_contaminated_ticks: bool = False,
        history: Sequence[Mapping[str, Any]] | None = None,
    ) -> BatchFeature:
        """Encode one question or a batch; gives one row per answer, question after question.

        Args:
            question: Text, messages (with a chat template), or None; a list of these for a batch.
            answers: For one question a text or a list of them, in the order of the sides a, b, ...;
                for a batch a list of such lists. None instead of a text: that answer has none.
            ticks: Tick lists by column, such as a row of `load_dataset("ifllm")`; for a batch lists
                of lists, such as a slice of it. None: no behaviour. Its `turn` (number in the
                conversation) and `trajectory_history` (see `habit`) are read where they are there.
            padding: As in transformers: True or "longest"; "max_length" (tokens to `max_length`,
                ticks to the extractor's `max_ticks`); False or "do_not_pad". By default tensors are
                padded to the longest, and lists are not.
            return_tensors: "pt", or None for lists of arrays.
            include_contaminated_ticks: Read ticks behind the end of reading too, which see the
                click on the rating. For ablations only.
            history: Of one question: rows of the reader's earlier turns, to compute a habit from.

        Returns:
            `input_ids`, `attention_mask`, `token_behavior`, `token_behavior_mask`, `trajectory`,
            `trajectory_observed`, `trajectory_time_ms`, `trajectory_mask`, `context` and, where a
            habit is known, `trajectory_history`; without ticks the first two and `context`.

        Raises:
            DataError: Input that cannot be used; names the row and the field.
        """
        if history is not None:
            if _is_batch(question, answers):
                raise DataError(
                    f"'history' is of one reader; of a batch, give every row its '{HISTORY}'."
                )
            ticks = {**(ticks or {}), HISTORY: self.habit(history)}
        questions, answer_lists, columns = _as_batch(question, answers, ticks)
        encoded = self._encode(questions, answer_lists, columns, include_contaminated_ticks)
        how = padding_mode(return_tensors is not None if padding is None else padding)
        if how == PaddingStrategy.DO_NOT_PAD:
            if return_tensors is None:
                return BatchFeature(encoded)
            refuse_ragged(encoded)
        least = {True: 1, False: 1}
        if how == PaddingStrategy.MAX_LENGTH:
            least = {True: self.max_length, False: self.feature_extractor.max_ticks}
        padded = self._pad(encoded, len(list(chain.from_iterable(answer_lists))), least)
        if return_tensors is None:
            return BatchFeature({name: list(values) for name, values in padded.items()})
        return BatchFeature(padded, tensor_type=return_tensors)

    def encode_rows(
        self, rows: Mapping[str, Any], include_contaminated_ticks: bool = False
    ) -> Columns:
        """Encode a batch of rows of the `pairwise` or `pointwise` config, for `Dataset.map`.

            encoded = turns.map(processor.encode_rows, batched=True, num_proc=2)

        Args:
            rows: `prompt`, `response_a`, `response_b` and the tick lists, by column.
            include_contaminated_ticks: As in `__call__`.

        Returns:
            The names of `__call__` with `_a` and `_b` behind them, unpadded; None in `_b` where
            there is one answer. `pad` makes batches of them.

        Raises:
            DataError: As `__call__`.
        """
        answers = _answers_of(rows)
        encoded = self._encode(list(rows["prompt"]), answers, rows, include_contaminated_ticks)
        of_side: Columns = {f"{name}_{side}": [] for name in encoded for side in "ab"}
        row = 0
        for sides in answers:
            for number, side in enumerate("ab"):
                for name, values in encoded.items():
                    of_side[f"{name}_{side}"].append(
                        values[row + number] if number < len(sides) else None
                    )
            row += len(sides)
        return of_side

    def pad(self, rows: Sequence[Mapping[str, Any]], return_tensors: str = "pt") -> BatchFeature:
        """Make a padded batch of encoded rows.

        Tokens are padded on the tokenizer's side, ticks on the right. A row may lack what others
        have, it is masked there; what no row has is left out.

        Args:
            rows: One mapping per answer, with the names of `__call__`; others are ignored.
            return_tensors: "pt" or "np".

        Raises:
            DataError: A mask or list has another length than what it belongs to, there are more or
                fewer channels than this processor's, or a value is NaN; names the row and field.
        """
        columns: Columns = {}
        for name, dtype in _DTYPES.items():
            values = [row.get(name) for row in rows]
            if any(value is not None for value in values):
                columns[name] = [None if v is None else np.asarray(v, dtype=dtype) for v in values]
        self._check(columns)
        padded = self._pad(columns, len(rows), {True: 1, False: 1})
        return BatchFeature(padded, tensor_type=return_tensors)

    def fit(self, rows: Any, *, include_contaminated_ticks: bool = False) -> IFLLMProcessor:
        """Fit the normalisation on training rows; it is saved with the processor.

        Args:
            rows: A `Dataset` of the `pairwise` or `pointwise` config, or a slice of one.
            include_contaminated_ticks: As in `__call__`.

        Returns:
            This processor.

        Raises:
            DataError: A channel is observed in none of the rows, or as `__call__`.
        """

        def batches() -> Iterator[tuple[Mapping[str, Any], Any, AnswerTokens]]:
            for part in _slices(rows):
                answers = _answers_of(part)
                yield part, _lengths(answers), self._tokenize(list(part["prompt"]), answers)

        self.feature_extractor.fit(batches(), include_contaminated_ticks=include_contaminated_ticks)
        return self

    def habit(self, earlier: Any) -> np.ndarray[Any, Any]:
        """Return where the end of reading rested in a reader's earlier turns, `[2, 9]`.

        It belongs into the column `trajectory_history` of a later turn. Turns without two answers
        count for nothing.

        Args:
            earlier: Rows of the `pairwise` or `pointwise` config, or a slice of one.

        Raises:
            DataError: As `__call__`.
        """
        from .modeling_evidence_ifllm import shares_of_rows

        if isinstance(earlier, Mapping):
            columns: Mapping[str, Any] = earlier
        else:
            names = sorted({name for row in earlier for name in row})
            columns = {name: [row.get(name) for row in earlier] for name in names}
        answers = _answers_of(columns) if columns else []
        kept = [row for row, sides in enumerate(answers) if len(sides) == 2]
        if not kept:
            return np.zeros((2, WIDTHS[HISTORY]), dtype=np.float32)
        columns = {name: [values[row] for row in kept] for name, values in columns.items()}
        extracted = self.feature_extractor(columns, _lengths([answers[row] for row in kept]))
        log_share, recorded = shares_of_rows(extracted, self.feature_extractor.channels)
        shape = (len(kept), 2, -1)
        return habit(log_share.reshape(shape), recorded.reshape(shape))

    def check_config(self, config: Any) -> None:
        """Refuse a model whose channels are not those of this processor, in this order.

        Raises:
            DataError: They differ.
        """
        for field in ("token_channels", "channels"):
            ours, theirs = getattr(self.feature_extractor, field), list(getattr(config, field))
            if ours != theirs:
                raise DataError(
                    f"'{field}': the processor writes {ours}, the model was made for {theirs}. "
                    "Expected the same names in the same order; load both from one place."
                )

    def answer_spans(self, question: Question, answer: str) -> tuple[int, list[tuple[int, int]]]:
        """Tell which characters of an answer belong to which token.

        Returns:
            The position of the answer's first token in the unpadded sequence, and for each of its
            tokens the first character and the one behind the last.
        """
        tokens = self._tokenize([question], [[answer]])
        return int(tokens.first[0]), tokens.spans(0)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that the model takes."""
        return list(_DTYPES)

    def _tokenize(
        self, questions: Sequence[Question], answers: Sequence[Sequence[str | None]]
    ) -> AnswerTokens:
        asked = [q for q, sides in zip(questions, answers, strict=True) for _ in sides]
        texts = list(chain.from_iterable(answers))
        return tokenize_answers(
            self.tokenizer, asked, texts, self.layout, self.max_length, self.chat_template
        )

    def _encode(
        self,
        questions: Sequence[Question],
        answers: Sequence[Sequence[str | None]],
        ticks: Mapping[str, Any] | None,
        include_contaminated_ticks: bool,
    ) -> Columns:
        """Return ragged arrays by name, one per answer."""
        tokens = None
        out: Columns = {}
        if any(text is not None for text in chain.from_iterable(answers)):
            tokens = self._tokenize(questions, answers)
            out["input_ids"] = tokens.input_ids
            out["attention_mask"] = [np.ones(len(ids), np.int64) for ids in tokens.input_ids]
        out["context"] = context_rows(questions, answers, ticks)
        history = history_rows(answers, ticks)
        if history is not None:
            out[HISTORY] = history
        if ticks is not None and set(ticks) - {TURN, HISTORY}:
            out |= self.feature_extractor(
                ticks,
                _lengths(answers),
                tokens,
                include_contaminated_ticks=include_contaminated_ticks,
            )
            if "trajectory" in out:
                out["trajectory_mask"] = [np.ones(len(t), dtype=bool) for t in out["trajectory"]]
        return out

    def _pad(
        self, columns: Columns, rows: int, least: dict[bool, int]
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Pad what goes by token (True) and by tick (False) to the longest, at least so far."""
        left = self.tokenizer.padding_side == "left"
        pad_id = self.tokenizer.pad_token_id
        if pad_id is None:
            pad_id = self.tokenizer.eos_token_id or 0
        longest = dict(least)
        fixed = {name: values for name, values in columns.items() if name in WIDTHS}
        columns = {name: values for name, values in columns.items() if name not in WIDTHS}
        for name, values in columns.items():
            by_token = name in _BY_TOKEN
            sizes = [len(value) for value in values if value is not None]
            longest[by_token] = max([longest[by_token], *sizes])
        out: dict[str, np.ndarray[Any, Any]] = {
            name: np.stack([np.zeros(WIDTHS[name], np.float32) if v is None else v for v in values])
            for name, values in fixed.items()
        }
        for name, values in columns.items():
            by_token = name in _BY_TOKEN
            size = longest[by_token]
            shape = (rows, size, *self._width(name))
            padded: np.ndarray[Any, Any] = np.zeros(shape, dtype=_DTYPES[name])
            if name == "input_ids":
                padded[:] = pad_id
            for row, value in enumerate(values):
                if value is not None and len(value):
                    begin = size - len(value) if by_token and left else 0
                    padded[row, begin : begin + len(value)] = value
            out[name] = padded
        return out

    def _width(self, name: str) -> tuple[int, ...]:
        extractor = self.feature_extractor
        if name.startswith("token_behavior"):
            return (len(extractor.token_channels),)
        if name in ("trajectory", "trajectory_observed"):
            return (len(extractor.channels),)
        return ()

    def _check(self, columns: Columns) -> None:
        """Refuse rows that do not fit together."""
        for name, values in columns.items():
            if name in WIDTHS:
                _check_fixed(name, values)
                continue
            width = self._width(name)
            base = columns.get("input_ids" if name in _BY_TOKEN else "trajectory")
            for row, value in enumerate(values):
                if value is None:
                    continue
                if value.shape[1:] != width and value.size:
                    raise DataError(
                        f"row {row}, field '{name}': shape {value.shape}; expected "
                        f"{('length', *width)}, the channels of this processor."
                    )
                other = base[row] if base is not None else None
                if other is not None and len(other) != len(value):
                    raise DataError(
                        f"row {row}, field '{name}': length {len(value)} beside "
                        f"{len(other)} of what it belongs to; expected the same."
                    )
                if value.dtype == np.float32 and not np.isfinite(value).all():
                    raise DataError(
                        f"row {row}, field '{name}': holds NaN or infinity; what was not observed "
                        "is 0 and False in its mask."
                    )
        for mask, values_name in _MASKS.items():
            if values_name in columns and mask not in columns:
                raise DataError(f"field '{mask}' is missing beside '{values_name}'.")


def _check_fixed(name: str, values: Sequence[Any]) -> None:
    """Refuse context and history of another width, that are not finite, or negative."""
    for row, value in enumerate(values):
        if value is None:
            continue
        if value.shape != (WIDTHS[name],):
            raise DataError(
                f"row {row}, field '{name}': shape {value.shape}; expected ({WIDTHS[name]},)."
            )
        if not np.isfinite(value).all() or (name == "context" and (value < 0).any()):
            raise DataError(
                f"row {row}, field '{name}': {value.tolist()}; expected finite numbers"
                + (", 0 where one is not known." if name == "context" else ".")
            )


def _as_batch(
    question: Any, answers: Any, ticks: Any
) -> tuple[list[Question], list[list[str | None]], Mapping[str, Any] | None]:
    """Bring one question, or a batch, into the form of a batch."""
    if answers is None:
        raise DataError("'answers' is missing; expected a text, or a list of texts per question.")
    if not _is_batch(question, answers):
        sides = [answers] if isinstance(answers, str) else list(answers)
        return [question], [sides], None if ticks is None else _one_row(ticks)
    many = [
        [sides] if sides is None or isinstance(sides, str) else list(sides) for sides in answers
    ]
    questions = [None] * len(many) if question is None else list(question)
    if len(questions) != len(many):
        raise DataError(
            f"'answers' has {len(many)} entries for {len(questions)} questions; expected one list "
            "of answers per question."
        )
    too_many = next((row for row, sides in enumerate(many) if len(sides) > len(SIDES)), None)
    if too_many is not None:
        raise DataError(f"row {too_many}, field 'answers': more than {len(SIDES)} answers.")
    if ticks is not None and not isinstance(ticks, Mapping):
        names = sorted({name for row in ticks if row is not None for name in row})
        ticks = {name: [None if row is None else row.get(name) for row in ticks] for name in names}
    return questions, many, ticks or None


def _is_batch(question: Any, answers: Any) -> bool:
    if isinstance(question, str):
        return False
    if question is None:
        return not isinstance(answers, str) and any(isinstance(a, (list, tuple)) for a in answers)
    return not (len(question) and isinstance(question[0], Mapping))  # messages are one question


def _answers_of(rows: Mapping[str, Any]) -> list[list[str | None]]:
    """Return the answers of dataset rows, per turn; one without `response_b` has one side."""
    pairs = zip(rows["response_a"], rows["response_b"], strict=True)
    return [[a] if b is None else [a, b] for a, b in pairs]


def _one_row(ticks: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {name: [values] for name, values in ticks.items()}


def _lengths(answers: Sequence[Sequence[str | None]]) -> list[list[int | None]]:
    return [[None if text is None else len(text) for text in sides] for sides in answers]


def _slices(rows: Any) -> Iterator[Mapping[str, Any]]:
    if hasattr(rows, "iter"):
        yield from rows.iter(batch_size=_FIT_BATCH)
    else:
        yield rows


IFLLMProcessor.register_for_auto_class()
