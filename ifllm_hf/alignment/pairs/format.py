"""Turn checked pairs into what the model reads, and hold one fold of workers out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ifllm_hf.alignment.pairs.config import PairDataConfig, PromptFormat
from ifllm_hf.alignment.pairs.layout import SIDES
from ifllm_hf.alignment.pairs.messages import Message, RowError, text_of
from ifllm_hf.alignment.pairs.own_template import turns_of
from ifllm_hf.alignment.pairs.source import Row, open_pairs, require_columns
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.scoring.held_out import HELD_OUT, refuse_seen

if TYPE_CHECKING:
    from datasets import Dataset

BULLET_SUFFIX = " respond using bullet points"  # as the collection site appended it
DROPPED_BOTH_SIDES = "prompt also stands in the held-out side"
DROPPED_UNSURE = "confidence below min_confidence"
DROPPED_BEYOND = "beyond max_pairs"
DROPPED_LONG = "prompt fills max_length"
DROPPED_EQUAL = "answers are equal up to max_length"
_COLUMNS = ("fold", "label_fold", "user_id", HELD_OUT)


@dataclass
class PreferencePairs:
    """Pairs, or single answers, in TRL's form with a confidence, ready for the trainer.

    Attributes:
        train: Columns `prompt`, `chosen`, `rejected`, `confidence`; of single answers `prompt`,
            `completion`, `label`, `confidence`.
        held_out: The same, or None when nothing is held out.
        ledger: What became of every row of the source.
        fingerprint: Hash of what the model will read, in order; the same on every machine.
        labeller_saw: Held-out pairs of readers whose clicks trained a labelling model.
        own_template: Pairs around which no template went, since they carry one of their own.
    """

    train: Dataset
    held_out: Dataset | None
    ledger: Ledger
    fingerprint: str
    labeller_saw: int = 0
    own_template: int = 0


def render_prompt(messages: Sequence[Message], template: str, prefix: str, separator: str) -> str:
    r"""Write a conversation with a string template; the last message is the question.

    >>> past = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    >>> question = {"role": "user", "content": "Why?"}
    >>> render_prompt([*past, question], "Q: {prompt}\nA:", " ", "\n\n")
    'Q: Hi\nA: Yes?\n\nQ: Why?\nA:'
    """
    parts: list[str] = []
    for message in messages:
        content = message["content"]
        match message["role"]:
            case "user":
                parts.append(
                    (separator if any(parts) else "") + template.replace("{prompt}", content)
                )
            case "assistant":
                parts.append(prefix + content.strip())
            case _:
                parts.append((separator if any(parts) else "") + content)
    return "".join(parts)


def format_row(
    row: Row, style: PromptFormat, confidence: float, sides: Sequence[str] = SIDES
) -> dict[str, Any]:
    """Return `prompt`, `chosen`, `rejected`, `confidence` as the trainer takes them.

    `sides` are the columns that hold answers.

    White space around an answer is removed: the prompt format supplies the separator, and an answer
    that starts with a line break would merge with it into one token. A text that carries a template
    of its own stays as it is; for a chat template it is read into turns.

    Raises:
        RowError: Such a text, where something would have to go inside it, or without known turns.
    """
    prompt = row["prompt"]
    as_chat = style.prompt_format == "chat"
    own = bool(row.get("has_template"))
    past = row.get("history_chosen") if style.history == "chosen" else None
    suffix = BULLET_SUFFIX if style.suffix and row["bullet_suffix"] else ""
    if own and (past or suffix):
        raise RowError(
            "'prompt' carries a template of its own, which history and suffix cannot enter",
            prompt,
            "expected the plain question; use history: none and suffix: false",
        )
    if own and not as_chat:
        return {"prompt": prompt, **{side: row[side] for side in sides}, "confidence": confidence}
    if past and not isinstance(prompt, str):
        raise RowError(
            "'history_chosen' is a past beside a 'prompt' of messages, or beside a system turn",
            past,
            "expected the past in one place; write it into the messages of prompt, or use "
            "history: none",
        )
    messages: list[Message]
    if own:
        messages = turns_of(prompt)
    elif isinstance(prompt, str):
        messages = [*(past or ()), {"role": "user", "content": prompt}]
    else:
        messages = list(prompt)
    messages[-1] = {**messages[-1], "content": messages[-1]["content"] + suffix}
    answers = {side: text_of(row[side]).strip() for side in sides}
    if as_chat:
        return {
            "prompt": messages,
            **{side: [{"role": "assistant", "content": text}] for side, text in answers.items()},
            "confidence": confidence,
        }
    return {
        "prompt": render_prompt(
            messages, style.prompt_template, style.response_prefix, style.turn_separator
        ),
        **{side: style.response_prefix + text for side, text in answers.items()},
        "confidence": confidence,
    }


def load_pairs(config: PairDataConfig, name: str | None = None) -> PreferencePairs:
    """Open, check, format and split the pairs of a run; see `split_rows`.

    Args:
        config: Which pairs and how.
        name: What to call the source in messages; default: `config.dataset`.

    Returns:
        Training and held-out pairs with the ledger.

    Raises:
        SourceError: Nothing can be read.
        DataError: Rows that cannot be trained on, or nothing left to train on.
        ConfigError: A setting needs a column that is not there, or held-out readers trained the
            models that labelled the others.
    """
    name = name or config.dataset
    pairs = open_pairs(
        config.dataset,
        config.dataset_config,
        config.dataset_split,
        name=name,
        columns=columns_read(config),
    )
    return split_rows(pairs, config, name)


def columns_read(config: PairDataConfig) -> tuple[str, ...]:
    """Return the columns that `split_rows` reads where they are there, beside the texts."""
    style_columns = {"history_chosen": config.history == "chosen", "bullet_suffix": config.suffix}
    return (*_COLUMNS, *(column for column, used in style_columns.items() if used))


def split_rows(
    pairs: Sequence[Row], config: PairDataConfig, name: str, sides: Sequence[str] = SIDES
) -> PreferencePairs:
    """Format checked rows and hold one fold of readers out.

    A prompt (the current question, compared without case and outer white space) that stands on
    both sides leaves the training side. `min_confidence` applies to the training side only.

    Args:
        pairs: Rows with `prompt`, `has_template`, `confidence`, and what `columns_read` names; a
            `label` of theirs is kept.
        config: How they are formatted, and who is held out.
        name: What to call the source in messages.
        sides: The columns that hold answers: two that must differ, or one.

    Raises:
        DataError: Rows that cannot be trained on, or nothing left to train on.
        ConfigError: A setting needs a column that is not there, or held-out readers trained the
            models that labelled the others.
    """
    from datasets import Dataset

    of_what = "pair" if len(sides) > 1 else "answer"
    past = config.history == "chosen" and any(isinstance(row["prompt"], str) for row in pairs)
    needed: dict[str, str | bool] = {
        "fold": config.eval_fold is not None
        and f"eval_fold {config.eval_fold} (null: nobody is held out)",
        "history_chosen": past and "history: chosen",
        "bullet_suffix": config.suffix and "suffix: true",
    }
    require_columns(pairs, name, needed)
    _check_folds(pairs, name)
    held = [config.eval_fold is not None and fold == config.eval_fold for fold in _folds(pairs)]
    _refuse_both_sides(pairs, held, name)
    if HELD_OUT in pairs[0]:
        refuse_seen(
            [row[HELD_OUT] for row in pairs],
            [row.get("user_id") for row in pairs],
            name=name,
            judged=held,
            fold=config.eval_fold,
        )
    labeller_saw = _labeller_saw(pairs, held, config, name)
    prompts = [text_of(row["prompt"]).strip().casefold() for row in pairs]
    held_prompts = {prompt for prompt, is_held in zip(prompts, held, strict=True) if is_held}

    ledger = Ledger(name)
    train: list[dict[str, Any]] = []
    held_out: list[dict[str, Any]] = []
    own_template = 0
    for i, row in enumerate(pairs):
        if not held[i]:
            if prompts[i] in held_prompts:
                ledger.drop(DROPPED_BOTH_SIDES)
                continue
            if row["confidence"] < config.min_confidence:
                ledger.drop(DROPPED_UNSURE)
                continue
            if config.max_pairs is not None and len(train) >= config.max_pairs:
                ledger.drop(DROPPED_BEYOND)
                continue
        try:
            formatted = format_row(row, config, row["confidence"], sides)
        except RowError as error:
            raise DataError(f"{name}: row {i}, counted from 0: {error}") from error
        if "label" in row:
            formatted["label"] = row["label"]
        if len({text_of(formatted[side]).strip() for side in sides}) < len(sides):
            raise DataError(
                f"{name}: 'chosen' and 'rejected' of row {i} differ in outer white space only; "
                "remove that row"
            )
        own_template += row["has_template"] and config.prompt_format == "template"
        (held_out if held[i] else train).append(formatted)
        ledger.keep()
    ledger.check()
    if config.eval_fold is not None and not held_out:
        raise ConfigError(
            f"{name}: no {of_what} has fold {config.eval_fold}; it has folds "
            f"{sorted(set(_folds(pairs)), key=str)}; set eval_fold to one of them"
        )
    if not train:
        raise DataError(
            f"{name}: 0 {of_what}s left to train on; dropped: {ledger.dropped}; loosen that"
        )
    digest = hashlib.sha256()
    for part in (train, held_out):
        digest.update(json.dumps(part, ensure_ascii=False, sort_keys=True).encode())
    return PreferencePairs(
        labeller_saw=labeller_saw,
        own_template=own_template,
        train=Dataset.from_list(train),
        held_out=Dataset.from_list(held_out) if held_out else None,
        ledger=ledger,
        fingerprint=digest.hexdigest()[:16],
    )


def _folds(pairs: Sequence[Row], column: str = "fold") -> list[int | None]:
    return [row.get(column) for row in pairs]


def _check_folds(pairs: Sequence[Row], name: str) -> None:
    for column in ("fold", "label_fold"):
        for i, fold in enumerate(_folds(pairs, column)):
            if fold is not None and not isinstance(fold, int | float):
                raise DataError(
                    f"{name}: row {i}, counted from 0: '{column}' is {fold!r}; expected a whole "
                    "number; cast the column"
                )


def _refuse_both_sides(pairs: Sequence[Row], held: list[bool], name: str) -> None:
    """Raise `DataError` where rows of one reader are held out and others are not."""
    side_of: dict[Any, bool] = {}
    for i, (row, is_held) in enumerate(zip(pairs, held, strict=True)):
        reader = row.get("user_id")
        if reader is not None and side_of.setdefault(reader, is_held) != is_held:
            raise DataError(
                f"{name}: row {i}, counted from 0: reader {reader!r} has rows in the held-out fold "
                "and in others; a reader has one fold, else what is judged was trained on. Give "
                "all rows of a user_id the same fold"
            )


def _labeller_saw(pairs: Sequence[Row], held: list[bool], config: PairDataConfig, name: str) -> int:
    """Count held-out pairs of readers whose clicks trained a labelling model.

    Raises:
        ConfigError: There are some, and the settings do not allow it.
    """
    # `ifllm label` marks readers who trained no labelling model with -1; clicks have no label_fold.
    taught = [fold is not None and fold >= 0 for fold in _folds(pairs, "label_fold")]
    saw = [is_held and has_taught for is_held, has_taught in zip(held, taught, strict=True)]
    if any(saw) and not config.labeller_may_see_judged_readers:
        folds = _folds(pairs)
        apart = set(folds) - {f for f, has_taught in zip(folds, taught, strict=True) if has_taught}
        readers = "held-out readers"
        if "user_id" in pairs[0]:
            users = {row["user_id"] for row, is_one in zip(pairs, saw, strict=True) if is_one}
            readers = f"{len(users)} {readers}"
        instead = f"set eval_fold: {min(apart, key=str)}, whose readers did not, " if apart else ""
        raise ConfigError(
            f"{name}: the clicks of {readers} (fold {config.eval_fold}, {sum(saw)} pairs) trained "
            "the models that labelled the others, so they cannot judge the result; "
            f"{instead}{'or ' if apart else ''}label again with --judge-fold {config.eval_fold} "
            "and --inputs (for an experiment that nobody judges: "
            "labeller_may_see_judged_readers: true)"
        )
    return sum(saw)
