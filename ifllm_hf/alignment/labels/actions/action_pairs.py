"""`ifllm label --source actions`: preference pairs from what readers did with answers.

The file has the columns of every label file and a few of its own (`ACTION_LABELS`), so what trains
on one trains on the other. A pair stands in it once, under the strongest rule that names it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from ifllm_hf.alignment.labels.actions.acted_answers import (
    ActedAnswer,
    ActedQuestion,
    acted_questions,
)
from ifllm_hf.alignment.labels.actions.action_report import ActionReport, TextLengths
from ifllm_hf.alignment.labels.actions.reliability import (
    NOT_FITTED,
    RuleReliability,
    fit_reliability,
    rated_better,
    with_behavior,
)
from ifllm_hf.alignment.labels.actions.rules import PAIR_RULES
from ifllm_hf.alignment.labels.label_file import ACTIONS, LABELS, METADATA_KEY, check_place
from ifllm_hf.data.ledger import Ledger
from ifllm_hf.errors import ConfigError, NothingLabelledError, require_one_of
from ifllm_hf.table_parts import write_table

ACTION, ACTION_AND_BEHAVIOR = "action", "action and behavior"
"""What a label of these is made from: the column `origin`."""

ACTION_LABELS = pa.schema(
    [
        *LABELS,
        ("rule", pa.string()),
        ("assumed", pa.bool_()),
        ("chosen_message_id", pa.string()),
        ("rejected_message_id", pa.string()),
        ("model_chosen", pa.string()),
        ("model_rejected", pa.string()),
    ]
)
"""Columns of the file: those of every label file, then which rule named the pair and which answers.

`assumed`: the confidence of the rule is a default, not measured. `model_chosen` is `person` where a
person wrote the text. `p_b`, `p_b_behavior` and `explicit_preference` are null: nothing is on a
side. `label_fold` is null where no rating shaped the confidence.
"""

PAIRS_OF_A_RULE = 8
"""Pairs that one rule may make of one question: thousands of siblings are no thousand choices."""

_ROWS_OF_A_PART = 2000

Behavior = Mapping[tuple[str, str], float]
"""By `message_id` of two answers: P(the first is preferred | behaviour), calibrated, by a model
that never saw the reader."""


def write_action_labels(
    folder: Path | str,
    out: Path | str,
    *,
    rules: Collection[str] = tuple(PAIR_RULES),
    judge_fold: int | None = None,
    behavior: Behavior | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> ActionReport:
    """Write preference pairs from actions, whole or not at all.

    Args:
        folder: A prepared folder with `messages` and `actions`.
        out: File to write, `.parquet` or `.jsonl`; a name without an ending: a folder of shards.
        rules: Names of `rules.PAIR_RULES`; others have no pairs and are passed over.
        judge_fold: The fold of readers on whom the trained model will be judged: their ratings fit
            no confidence.
        behavior: What behaviour says of pairs of answers; where it says nothing, nothing changes.
        overwrite: Replace what is there.
        progress: Show a progress bar on stderr.

    Returns:
        What was written and what it rests on.

    Raises:
        ConfigError: No rule is left.
        OutputError: The place is taken or cannot be written.
        TableError: It is not a prepared folder.
        DataError: It has no messages and actions.
        NothingLabelledError: No pair is left.
    """
    out = Path(out)
    chosen_rules = in_order(rules, PAIR_RULES)
    check_place(out, overwrite)
    told = [
        (name, agrees, question.thread.row["user_id"], question.thread.row["fold"])
        for question, named in _named(folder, chosen_rules, Ledgers(), progress=progress)
        for name, better, worse in named
        if name not in NOT_FITTED and (agrees := rated_better(better, worse)) is not None
    ]
    known = fit_reliability(told, chosen_rules, judge_fold=judge_fold)
    useful = [name for name in chosen_rules if not known[name].useless]
    ledgers = Ledgers()
    lengths = {name: TextLengths() for name in chosen_rules}

    def rows(ledgers: Ledgers, lengths: Mapping[str, TextLengths]) -> Iterator[dict[str, Any]]:
        return _rows(folder, useful, known, judge_fold, behavior or {}, ledgers, lengths, progress)

    readers = Counter(row["user_id"] for row in rows(ledgers, lengths))
    if not readers:
        raise NothingLabelledError(
            f"{folder}: 0 of {ledgers.questions.seen} questions give a pair by the rules "
            f"{', '.join(chosen_rules)} (questions dropped: {dict(ledgers.questions.dropped)}, "
            f"pairs: {dict(ledgers.items.dropped)}). Allow more rules, or label single answers "
            "with --unpaired"
        )
    report = ActionReport(
        path=out.name,
        source=ACTIONS,
        unpaired=False,
        rows=readers.total(),
        readers=len(readers),
        ledgers=ledgers.by_name("pairs"),
        rules=known,
        lengths=lengths,
        settings={"rules": list(chosen_rules), "judge_fold": judge_fold},
    )
    uncounted = {name: TextLengths() for name in chosen_rules}
    parts = parts_of(rows(Ledgers(), uncounted), ACTION_LABELS)
    write_table(out, parts, ACTION_LABELS, metadata_of(report))
    return report


class Ledgers:
    """What was seen on the way: questions, answers, and what rules named."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.questions, self.answers = Ledger("questions"), Ledger("answers")
        self.items = Ledger("named")

    def by_name(self, items: str) -> dict[str, Ledger]:
        """Return them by name, `items` for what was named."""
        found = {"questions": self.questions, "answers": self.answers, items: self.items}
        for ledger in found.values():
            ledger.check()
        return found


def in_order(rules: Collection[str], known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the chosen rules from the strongest.

    Raises:
        ConfigError: None of them is known here.
    """
    found = tuple(name for name in known if name in rules)
    if not found:
        raise ConfigError(
            f"no rule is left of {', '.join(rules) or 'none'}; expected some of {', '.join(known)}"
        )
    return found


def check_rules(rules: Collection[str], known: Collection[str]) -> None:
    """Refuse names that no rule has.

    Raises:
        ConfigError: One of them is unknown.
    """
    for name in rules:
        require_one_of("rule", name, known)


def label_fold_of(rule: RuleReliability, fold: int, judge_fold: int | None) -> int | None:
    """Return `label_fold`: null without fitted confidence, -1 for readers kept for judging."""
    if rule.assumed:
        return None
    return -1 if fold == judge_fold else 0


def parts_of(rows: Iterator[dict[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield rows as tables of a few thousand."""
    while part := list(islice(rows, _ROWS_OF_A_PART)):
        yield pa.Table.from_pylist(part, schema=schema)


def metadata_of(report: ActionReport) -> dict[bytes, bytes]:
    """Return what a Parquet file says of itself."""
    return {METADATA_KEY: report.to_json().encode()}


def _named(
    folder: Path | str, rules: Collection[str], ledgers: Ledgers, *, progress: bool
) -> Iterator[tuple[ActedQuestion, list[tuple[str, ActedAnswer, ActedAnswer]]]]:
    """Yield each question with the pairs that rules name, from the strongest rule."""
    for question in acted_questions(folder, ledgers.answers, progress=progress):
        if question.thread.unfit is not None:
            ledgers.questions.drop(question.thread.unfit)
            continue
        named = []
        for name in rules:
            found = PAIR_RULES[name](question)
            for better, worse in islice(found, PAIRS_OF_A_RULE):
                if better.text.strip() == worse.text.strip():
                    ledgers.items.drop("identical answers")
                else:
                    named.append((name, better, worse))
            ledgers.items.drop(f"more than {PAIRS_OF_A_RULE} of a rule", sum(1 for _ in found))
        if named:
            ledgers.questions.keep()
            yield question, named
        else:
            why = "one answer" if len(question.answers) < 2 else "no rule names a pair"
            ledgers.questions.drop(why)


def _rows(
    folder: Path | str,
    rules: Collection[str],
    known: Mapping[str, RuleReliability],
    judge_fold: int | None,
    behavior: Behavior,
    ledgers: Ledgers,
    lengths: Mapping[str, TextLengths],
    progress: bool,
) -> Iterator[dict[str, Any]]:
    for question, named in _named(folder, rules, ledgers, progress=progress):
        decided: dict[frozenset[str], ActedAnswer] = {}
        for name, better, worse in named:
            pair = frozenset((better.message_id, worse.message_id))
            if (by_stronger := decided.get(pair)) is not None:
                same = by_stronger is better
                ledgers.items.drop(f"a stronger rule says {'the same' if same else 'otherwise'}")
                continue
            decided[pair] = better
            p_behavior = _behavior_of(behavior, better, worse)
            confidence = with_behavior(known[name].confidence, p_behavior)
            if confidence < 0.5:
                better, worse, confidence = worse, better, 1.0 - confidence
            ledgers.items.keep()
            lengths[name].add_pair(better.text, worse.text)
            yield {
                **pair_row(question, better, worse),
                "confidence": confidence,
                "source": ACTIONS,
                "label_fold": label_fold_of(known[name], question.thread.row["fold"], judge_fold),
                "origin": ACTION if p_behavior is None else ACTION_AND_BEHAVIOR,
                "rule": name,
                "assumed": known[name].assumed,
            }


def pair_row(question: ActedQuestion, better: ActedAnswer, worse: ActedAnswer) -> dict[str, Any]:
    """Return the columns of a pair that are its question's and its answers'."""
    thread = question.thread
    past = list(thread.past)
    return {
        **dict.fromkeys(ACTION_LABELS.names),
        "prompt": thread.row["content"],
        "chosen": better.text,
        "rejected": worse.text,
        "query_id": thread.query_id,
        **{name: thread.row[name] for name in ("conversation_id", "user_id", "fold")},
        "turn": thread.turn,
        "bullet_suffix": False,
        "history_chosen": past,
        "history_rejected": past,
        "chosen_message_id": better.message_id,
        "rejected_message_id": worse.message_id,
        "model_chosen": better.row["model"],
        "model_rejected": worse.row["model"],
    }


def _behavior_of(behavior: Behavior, better: ActedAnswer, worse: ActedAnswer) -> float | None:
    """Return P(`better` is preferred | behaviour), whichever way round it is known."""
    ids = better.message_id, worse.message_id
    if ids in behavior:
        return behavior[ids]
    return 1.0 - behavior[ids[::-1]] if ids[::-1] in behavior else None
