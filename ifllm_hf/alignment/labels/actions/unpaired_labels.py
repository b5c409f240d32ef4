"""`ifllm label --unpaired`: single answers and whether they were wanted, for KTO."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from ifllm_hf.alignment.labels.actions.acted_answers import (
    ActedAnswer,
    ActedQuestion,
    acted_questions,
)
from ifllm_hf.alignment.labels.actions.action_pairs import (
    Ledgers,
    in_order,
    label_fold_of,
    metadata_of,
    parts_of,
)
from ifllm_hf.alignment.labels.actions.action_report import ActionReport, TextLengths
from ifllm_hf.alignment.labels.actions.reliability import (
    NOT_FITTED,
    RuleReliability,
    fit_reliability,
)
from ifllm_hf.alignment.labels.actions.rules import ANSWER_RULES
from ifllm_hf.alignment.labels.label_file import ACTIONS, LABELS, check_place
from ifllm_hf.alignment.labels.write import EXPLICIT
from ifllm_hf.behavior.features.table import turn_files
from ifllm_hf.data.schema import TURNS
from ifllm_hf.data.tables.preferences import build_preferences
from ifllm_hf.errors import NothingLabelledError
from ifllm_hf.files import read_parquet
from ifllm_hf.table_parts import write_table

UNPAIRED = pa.schema(
    [
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("label", pa.bool_()),
        ("confidence", pa.float32()),
        ("assumed", pa.bool_()),
        ("rule", pa.string()),
        ("source", pa.string()),
        ("model", pa.string()),
        LABELS.field("query_id"),
        ("message_id", pa.string()),
        *(LABELS.field(name) for name in ("conversation_id", "user_id", "turn", "fold")),
        *(LABELS.field(name) for name in ("label_fold", "bullet_suffix")),
        pa.field("history", LABELS.field("history_chosen").type),
    ]
)
"""Columns of an unpaired file: TRL's `prompt, completion, label`, then what is behind the label.

`confidence` is that of the label, in [0.5, 1]. `history` is what was said before the question.
"""


def write_unpaired_actions(
    folder: Path | str,
    out: Path | str,
    *,
    rules: Collection[str] = tuple(ANSWER_RULES),
    judge_fold: int | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> ActionReport:
    """Write single answers with what actions say of them, whole or not at all.

    An answer stands in the file once, under the strongest rule that speaks of it. Where weaker ones
    say the opposite it is left out and counted, unless the strongest is the reader's own rating.

    Args:
        folder: A prepared folder with `messages` and `actions`.
        out: File to write, `.parquet` or `.jsonl`; a name without an ending: a folder of shards.
        rules: Names of `rules.ANSWER_RULES`; others say nothing of single answers.
        judge_fold: See `action_pairs.write_action_labels`.
        overwrite: Replace what is there.
        progress: Show a progress bar on stderr.

    Raises:
        IFLLMError: See `action_pairs.write_action_labels`.
    """
    out = Path(out)
    chosen_rules = in_order(rules, ANSWER_RULES)
    check_place(out, overwrite)
    told = [
        (name, wanted == (answer.thumb > 0), answer.row["user_id"], answer.row["fold"])
        for _, named in _named(folder, chosen_rules, Ledgers(), progress=progress)
        for answer, verdicts in named
        for name, wanted in verdicts
        if name not in NOT_FITTED and answer.thumb
    ]
    known = fit_reliability(told, chosen_rules, judge_fold=judge_fold)
    useful = tuple(name for name in chosen_rules if not known[name].useless)
    ledgers = Ledgers()
    lengths = {name: TextLengths() for name in chosen_rules}
    rows = _action_rows(folder, useful, known, judge_fold, ledgers, progress)
    readers = _count(rows, lengths)
    if not readers:
        raise NothingLabelledError(
            f"{folder}: 0 of {ledgers.answers.seen} answers are spoken of by the rules "
            f"{', '.join(chosen_rules)} (answers dropped: {dict(ledgers.answers.dropped)}). Allow "
            "more rules, or import chats in which somebody rated, copied or regenerated"
        )
    report = ActionReport(
        path=out.name,
        source=ACTIONS,
        unpaired=True,
        rows=readers.total(),
        readers=len(readers),
        ledgers=ledgers.by_name("judgements"),
        rules=known,
        lengths=lengths,
        settings={"rules": list(chosen_rules), "judge_fold": judge_fold},
    )
    again = _action_rows(folder, useful, known, judge_fold, Ledgers(), progress)
    write_table(out, parts_of(again, UNPAIRED), UNPAIRED, metadata_of(report))
    return report


def write_unpaired_clicks(
    folder: Path | str, out: Path | str, *, overwrite: bool = False
) -> ActionReport:
    """Write the two answers of every click: the chosen one wanted, the rejected one not.

    Args:
        folder: A prepared folder.
        out: See `write_unpaired_actions`.
        overwrite: Replace what is there.

    Raises:
        TableError: It is not a prepared folder.
        NothingLabelledError: It holds no click on a side.
        OutputError: The place is taken or cannot be written.
    """
    out = Path(out)
    check_place(out, overwrite)
    ledgers, lengths = Ledgers(), {EXPLICIT: TextLengths()}
    readers = _count(_click_rows(folder, ledgers), lengths)
    if not readers:
        raise NothingLabelledError(
            f"{folder}: none of {ledgers.questions.seen} turns has a click on one of two answers "
            f"(dropped: {dict(ledgers.questions.dropped)}). Choose another source"
        )
    report = ActionReport(
        path=out.name,
        source=EXPLICIT,
        unpaired=True,
        rows=readers.total(),
        readers=len(readers),
        ledgers={"turns": ledgers.questions},
        rules={},
        lengths=lengths,
        settings={},
    )
    again = _click_rows(folder, Ledgers())
    write_table(out, parts_of(again, UNPAIRED), UNPAIRED, metadata_of(report))
    return report


def _count(rows: Iterator[dict[str, Any]], lengths: Mapping[str, TextLengths]) -> Counter[str]:
    readers: Counter[str] = Counter()
    for row in rows:
        readers[row["user_id"]] += 1
        lengths[row["rule"]].add(row["completion"], wanted=row["label"])
    return readers


Verdicts = list[tuple[str, bool]]


def _named(
    folder: Path | str, rules: Collection[str], ledgers: Ledgers, *, progress: bool
) -> Iterator[tuple[ActedQuestion, list[tuple[ActedAnswer, Verdicts]]]]:
    """Yield each question with the answers that rules speak of, from the strongest rule."""
    for question in acted_questions(folder, ledgers.answers, progress=progress):
        if question.thread.unfit is not None:
            ledgers.questions.drop(question.thread.unfit)
            continue
        verdicts: dict[str, Verdicts] = {}
        for name in rules:
            for answer, wanted in ANSWER_RULES[name](question):
                verdicts.setdefault(answer.message_id, []).append((name, wanted))
        spoken_of = (answer for answer in question.answers if answer.message_id in verdicts)
        named = [(answer, verdicts[answer.message_id]) for answer in spoken_of]
        if named:
            ledgers.questions.keep()
            yield question, named
        else:
            ledgers.questions.drop("no rule speaks of its answers")


def _action_rows(
    folder: Path | str,
    rules: Collection[str],
    known: Mapping[str, RuleReliability],
    judge_fold: int | None,
    ledgers: Ledgers,
    progress: bool,
) -> Iterator[dict[str, Any]]:
    for question, named in _named(folder, rules, ledgers, progress=progress):
        thread = question.thread
        for answer, verdicts in named:
            (name, wanted), *weaker = verdicts
            if name not in NOT_FITTED and any(other != wanted for _, other in weaker):
                ledgers.items.drop("rules contradict each other")
                continue
            ledgers.items.keep()
            yield {
                "prompt": thread.row["content"],
                "completion": answer.text,
                "label": wanted,
                "confidence": known[name].confidence,
                "assumed": known[name].assumed,
                "rule": name,
                "source": ACTIONS,
                "model": answer.row["model"],
                "query_id": thread.query_id,
                "message_id": answer.message_id,
                **{key: thread.row[key] for key in ("conversation_id", "user_id", "fold")},
                "turn": thread.turn,
                "label_fold": label_fold_of(known[name], thread.row["fold"], judge_fold),
                "bullet_suffix": False,
                "history": list(thread.past),
            }


def _click_rows(folder: Path | str, ledgers: Ledgers) -> Iterator[dict[str, Any]]:
    for file in turn_files(folder):
        pairs, ledger = build_preferences(read_parquet([file], [*TURNS.names]))
        ledgers.questions += ledger
        for pair in pairs.iter_rows(named=True):
            for side in ("chosen", "rejected"):
                yield {
                    **{name: pair[name] for name in UNPAIRED.names if name in pair},
                    "completion": pair[side],
                    "label": side == "chosen",
                    "assumed": False,
                    "rule": EXPLICIT,
                    "model": None,
                    "message_id": None,
                    "label_fold": None,
                    "history": pair[f"history_{side}"],
                }
