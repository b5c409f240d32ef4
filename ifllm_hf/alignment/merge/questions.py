"""The texts that the trained and the served model are compared on, and where they come from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ifllm_hf.alignment.kto.judgements import load_answers
from ifllm_hf.alignment.pairs.config import PairDataConfig, PromptFormat
from ifllm_hf.alignment.pairs.format import format_row, load_pairs
from ifllm_hf.alignment.pairs.messages import Message, RowError, text_of
from ifllm_hf.alignment.pairs.opening import MADE_UP
from ifllm_hf.alignment.pairs.source import Row, open_pairs, open_prompts
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.errors import ConfigError, DataError, IFLLMError
from ifllm_hf.files import digest
from ifllm_hf.training.run_record import public_name

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """A question, and an answer to it.

    Attributes:
        prompt: As the model reads it: a string, or messages for a chat template.
        answer: What follows; None: the trained model writes it.
    """

    prompt: str | list[Message]
    answer: str | None


@dataclass(frozen=True)
class Questions:
    """What is compared on.

    Attributes:
        asked: The questions.
        source: Where they come from, in words.
    """

    asked: Sequence[Asked]
    source: str


def style_of(run: Mapping[str, Any] | None, tokenizer: Any) -> PromptFormat:
    """Return how a run wrote its prompts.

    Args:
        run: Its record; None: nobody knows, and a chat template is taken where there is one.
        tokenizer: Of the model.
    """
    if run is None:
        chats = tokenizer.chat_template is not None
        return PromptFormat(prompt_format="chat" if chats else "template")
    known = {f.name for f in fields(PromptFormat)}
    return PromptFormat(**{k: v for k, v in run["settings"].items() if k in known})


def find_questions(
    run: Mapping[str, Any] | None, style: PromptFormat, n: int, given: str | None = None
) -> Questions:
    """Return questions of readers whom the run held out, else others, and say which.

    Args:
        run: The record of the run.
        style: How they look to the model.
        n: At most so many, chosen by the hash of their text.
        given: A dataset to take instead (see `open_dataset`), with or without answers.

    Raises:
        IFLLMError: `given` cannot be read.
    """
    if given is not None:
        return Questions(_chosen(_asked(given, style), n), f"of {public_name(given)}")
    if run is not None and (found := _held_out(run)) is not None:
        return Questions(_chosen(found.asked, n), found.source)
    return Questions(_chosen(_asked(MADE_UP, style), n), "made up, as the run's data are not here")


def _held_out(run: Mapping[str, Any]) -> Questions | None:
    """Return the pairs of the readers whom a run held out, if its data are here."""
    settings = run["settings"]
    known = {f.name for f in fields(PairDataConfig)}
    try:
        config = PairDataConfig(**{k: v for k, v in settings.items() if k in known})
        if not _is_here(config.dataset):
            return None
        alone = run.get("stage") == "kto"
        pairs = load_answers(config) if alone else load_pairs(config)
    except (IFLLMError, TypeError) as error:
        logger.warning("the data of the run cannot be read (%s)", error)
        return None
    name = str(public_name(config.dataset))
    source = f"of the readers that the run held out ({name}, fold {config.eval_fold})"
    rows = pairs.held_out
    if rows is None:
        rows, source = pairs.train, f"of {name}, which the run was trained on: it held nobody out"
    if pairs.fingerprint != run["data"]["fingerprint"]:
        source += "; the data have changed since"
    side = "completion" if alone else "chosen"
    asked = [Asked(row["prompt"], text_of(row[side])) for row in rows if row.get("label", True)]
    return Questions(asked, source)


def _is_here(dataset: str) -> bool:
    """Tell whether a dataset can be opened without a large download."""
    if dataset == "ifllm":
        import datasets

        from ifllm_hf.data.prepared.ifllm import find_source, fingerprint

        prepared = Path(datasets.config.HF_DATASETS_CACHE) / "ifllm_prepared" / fingerprint(None)
        return find_source(None) is not None or is_prepared(prepared / "ifllm")
    on_hub = dataset.count("/") == 1 and not dataset.startswith((".", "/", "~"))
    return dataset == MADE_UP or on_hub or Path(dataset).expanduser().exists()


def _asked(dataset: str, style: PromptFormat) -> list[Asked]:
    sides = ("chosen", "rejected")
    columns = [
        *(("history_chosen",) if style.history == "chosen" else ()),
        *(("bullet_suffix",) if style.suffix else ()),
    ]
    rows: list[Row]
    try:
        rows = open_pairs(dataset, columns=columns)
    except DataError:
        rows = open_prompts(dataset, columns=columns)
    found = []
    for row in rows:
        try:
            made = format_row({side: "" for side in sides} | row, style, 1.0)
        except (RowError, KeyError) as error:
            raise ConfigError(
                f"{public_name(dataset)}: a question cannot be read: {error}"
            ) from error
        answered = "chosen" in row
        found.append(Asked(made["prompt"], text_of(made["chosen"]) if answered else None))
    return found


def _chosen(asked: Sequence[Asked], n: int) -> list[Asked]:
    """Choose by hash, so that the order of the data does not matter; each question once."""
    by_text = {text_of(one.prompt): one for one in asked}
    return [by_text[text] for text in sorted(by_text, key=lambda text: digest(text, 16))[:n]]
