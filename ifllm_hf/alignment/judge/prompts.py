"""The questions on which models are judged: of readers whom training never saw."""

from __future__ import annotations

from dataclasses import replace

from ifllm_hf.alignment.generate.backend import JudgedPrompt
from ifllm_hf.alignment.judge.config import PromptSelection
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.format import format_row
from ifllm_hf.alignment.pairs.messages import RowError, text_of
from ifllm_hf.alignment.pairs.source import Row, open_prompts, require_columns
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import digest
from ifllm_hf.training.run_record import public_name

_IFLLM_CONFIGS = ("pairwise", "pointwise")
_COLUMNS = ("user_id", "fold")
TRAINED_ON = "a reader of the training side asked it too"
REPEATED = "asked before"
BEYOND = "beyond max_prompts"


def held_out_prompts(
    chosen: PromptSelection, style: PromptFormat
) -> tuple[list[JudgedPrompt], Ledger]:
    """Return the questions to judge on, in the order of the dataset, each once.

    Args:
        chosen: Which questions.
        style: How they look to the models.

    Returns:
        The questions, and what became of every row.

    Raises:
        SourceError: Nothing can be read.
        ConfigError: A column that is needed is not there, or no row has the fold.
        DataError: No question is left.
    """
    is_ifllm = chosen.dataset == "ifllm" or is_prepared(chosen.dataset)
    configs: tuple[str | None, ...] = chosen.configs or (_IFLLM_CONFIGS if is_ifllm else (None,))
    name = str(public_name(chosen.dataset))
    style_columns = {"history_chosen": style.history == "chosen", "bullet_suffix": style.suffix}
    columns = (*_COLUMNS, *(column for column, used in style_columns.items() if used))
    rows: list[Row] = []
    for config in configs:
        table = open_prompts(chosen.dataset, config, chosen.split, name=name, columns=columns)
        needed: dict[str, str | bool] = {
            "fold": chosen.fold is not None and f"prompts.fold {chosen.fold} (null: all readers)",
            "bullet_suffix": style.suffix and "format.suffix",
            "history_chosen": style.history == "chosen" and "format.history",
        }
        require_columns(table, name, needed)
        rows += table
    return select_prompts(rows, chosen, style)


def select_prompts(
    rows: list[Row], chosen: PromptSelection, style: PromptFormat
) -> tuple[list[JudgedPrompt], Ledger]:
    """Choose among rows of a dataset; see `held_out_prompts`."""
    ledger = Ledger(str(public_name(chosen.dataset)))
    held = {
        i: row for i, row in enumerate(rows) if chosen.fold is None or row["fold"] == chosen.fold
    }
    if not held:
        raise ConfigError(
            f"no question has fold {chosen.fold}; the dataset has folds "
            f"{sorted({row['fold'] for row in rows}, key=str)}. Set prompts.fold to one of them"
        )
    ledger.drop("of readers of the training side", len(rows) - len(held))
    trained = {
        _normal(row) for row in rows if chosen.fold is not None and row["fold"] != chosen.fold
    }
    found: dict[str, JudgedPrompt] = {}
    for i, row in held.items():
        if _normal(row) in trained:
            ledger.drop(TRAINED_ON)
            continue
        try:
            made = _make(row, style)
        except RowError as error:
            raise DataError(
                f"{ledger.name}: row {i}, counted from 0, cannot be judged: {error}"
            ) from error
        if made.prompt_id in found:
            ledger.drop(REPEATED)
            continue
        found[made.prompt_id] = made
    kept = list(found.values())
    if chosen.max_prompts is not None and len(kept) > chosen.max_prompts:
        # By hash, so that more data change the choice as little as can be.
        ranked = sorted(kept, key=lambda p: digest(f"{chosen.seed} {p.prompt_id}", 16))
        taken = {p.prompt_id for p in ranked[: chosen.max_prompts]}
        ledger.drop(BEYOND, len(kept) - len(taken))
        kept = [p for p in kept if p.prompt_id in taken]
    ledger.keep(len(kept))
    ledger.check()
    if not kept:
        raise DataError(
            f"0 of {ledger.seen} questions are left to judge on (dropped: {ledger.dropped}); "
            "choose another fold or dataset"
        )
    return kept, ledger


def _make(row: Row, style: PromptFormat) -> JudgedPrompt:
    answers = {"chosen": "", "rejected": ""}
    as_chat = replace(style, prompt_format="chat")
    messages = format_row({**row, **answers}, as_chat, 1.0)["prompt"]
    prompt = format_row({**row, **answers}, style, 1.0)["prompt"]
    question = "\n\n".join(
        m["content"] if len(messages) == 1 else f"{m['role']}: {m['content']}" for m in messages
    ).strip()
    prompt_id = digest(question, 16)
    return JudgedPrompt(prompt_id, row.get("user_id") or prompt_id, question, prompt)


def _normal(row: Row) -> str:
    return text_of(row["prompt"]).strip().casefold()
