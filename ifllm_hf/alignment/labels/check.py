"""Look at a label file as each language model will see it, and hold `chosen` to the reader.

Torch and TRL are not needed: the pairs are opened, checked and formatted by the code that training
uses, and the formats are read from the YAML of each model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.alignment.labels.label_file import ACTIONS
from ifllm_hf.alignment.labels.write import EXPLICIT, SOURCES
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.format import format_row
from ifllm_hf.alignment.pairs.messages import RowError, text_of
from ifllm_hf.alignment.pairs.source import open_pairs
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import shipped_folder
from ifllm_hf.reward.pretrained.shipped import KNOWN_TRUTH
from ifllm_hf.training.settings_file import read_yaml
from ifllm_hf.training.tiny_models import TINY_PREFIX

_SHOWN_CHARS = 240
TURNS_OF_CHECK = ("query_id", "response_a", "response_b", "preference")
"""Columns of the turns that pairs are held to."""
_MESSAGES = ("message_id", "parent_id", "content")
_SIDES = ("chosen_message_id", "rejected_message_id")
_COLUMNS = ("query_id", "source", "p_b", "history_chosen", "bullet_suffix", *_SIDES)


@dataclass(frozen=True)
class LabelCheck:
    """What was found.

    Attributes:
        path: Name of the file.
        pairs: Rows.
        source: Pairs by source.
        with_click: Pairs whose reader clicked on a side.
        agree: Of those, pairs whose `chosen` is the answer that the reader preferred.
        shown: `models` (names with the same format), `query_id, confidence, prompt, chosen,
            rejected` as the model reads them.
    """

    path: str
    pairs: int
    source: dict[str, int]
    with_click: int
    agree: int
    shown: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return asdict(self)

    def text(self) -> str:
        """Return what to print for a person; long texts are cut in the middle."""
        lines = []
        for pair in self.shown:
            lines += [
                f"--- {', '.join(pair['models'])}: query {pair['query_id']}, confidence "
                f"{pair['confidence']:.3f}",
                f"prompt   {_cut(pair['prompt'])}",
                f"chosen   {_cut(pair['chosen'])}",
                f"rejected {_cut(pair['rejected'])}",
            ]
        share = f" ({self.agree / self.with_click:.1%})" if self.with_click else ""
        lines.append(
            f"{self.path}: {self.pairs} pairs ("
            + ", ".join(f"{name} {n}" for name, n in sorted(self.source.items()))
            + f"); chosen is what the reader clicked in {self.agree} of {self.with_click} pairs "
            f"with a click{share}."
        )
        return "\n".join(lines)


def check_labels(
    path: Path | str,
    turns: pl.DataFrame,
    templates: Sequence[Path] | None = None,
    *,
    show: int = 3,
) -> LabelCheck:
    """Show some pairs as each model will read them, and assert that `chosen` is the right side.

    For every pair and every format, the answers that the model reads are compared with the turn
    itself. `explicit`: chosen must be the answer that the reader preferred. Otherwise
    chosen must be the side that `p_b` names; how often that is the click is reported.

    Args:
        path: A label file (`.parquet` or `.jsonl`), or the folder of its shards, with `query_id`
            and `source`.
        turns: The `turns` table that it was made from: `TURNS_OF_CHECK`. Of a file made from
            actions: the texts of `messages` (`acted_answers.messages_of`).
        templates: YAML files of models; default: those that come with the package, without the
            one for dry runs.
        show: Pairs to show, from the least certain to the most certain.

    Returns:
        Counts and the pairs to show.

    Raises:
        DataError: A pair is reversed, is not of its turn, or cannot be trained on; the first one
            is named.
        SourceError: The file cannot be read.
        ConfigError: There are no templates, or one of them is broken.
    """
    path = Path(path)
    formats = _formats(recipe_files() if templates is None else templates)
    rows = open_pairs(str(path), name=path.name, columns=_COLUMNS)
    missing = [name for name in ("query_id", "source") if name not in rows[0]]
    if missing:
        raise DataError(
            f"{path.name}: no column {', '.join(missing)}; expected a file that `ifllm label` wrote"
        )
    for i, row in enumerate(rows):
        _check_evidence(row, i, path.name)
    its = _turns_of(rows, turns, path.name)
    sides = [_chosen_side(row, i, its[i], path.name) for i, row in enumerate(rows)]
    clicks = [turn["preference"] for turn in its]
    _check_against_clicks(rows, sides, clicks, path.name)
    with_click = [
        side == click for side, click in zip(sides, clicks, strict=True) if click in ("a", "b")
    ]
    picked = _spread([row["confidence"] for row in rows], show)
    shown = []
    for look, models in formats.items():
        for i, row in enumerate(rows):
            try:
                seen = format_row(row, look, row["confidence"])
            except RowError as error:
                raise DataError(
                    f"{path.name}: row {i}, counted from 0, as {models[0]} reads it: {error}"
                ) from error
            _hold_to_turn(seen, sides[i], its[i], models, path.name)
            if i in picked:
                shown.append(_shown(seen, row, models, look))
    source = dict(Counter(row["source"] for row in rows))
    return LabelCheck(path.name, len(rows), source, len(with_click), sum(with_click), shown)


def recipe_files() -> list[Path]:
    """Return the YAML of every model that comes with the package, without the dry run's.

    Raises:
        ConfigError: They are not where the package keeps them.
    """
    configs = shipped_folder("recipes") / "configs"
    return sorted(file for file in configs.glob("*.yaml") if _is_of_a_model(file))


def _is_of_a_model(file: Path) -> bool:
    """Whether a recipe trains a real model on pairs: it names a loss, and none made for tests."""
    settings = read_yaml(file)
    name = str(settings.get("model_name_or_path"))
    made_up = name == KNOWN_TRUTH or name.startswith(TINY_PREFIX)
    return "preference_loss" in settings and not made_up


def _formats(templates: Sequence[Path]) -> dict[PromptFormat, list[str]]:
    """Return the different formats, each with the models that use it."""
    known = {f.name for f in fields(PromptFormat)}
    found: dict[PromptFormat, list[str]] = {}
    for file in templates:
        look = PromptFormat(**{k: value for k, value in read_yaml(file).items() if k in known})
        if look.prompt_template.count("{prompt}") != 1:
            raise ConfigError(
                f"{file}: prompt_template is {look.prompt_template!r}; expected {{prompt}} in it "
                "once"
            )
        found.setdefault(look, []).append(Path(file).stem)
    if not found:
        raise ConfigError("no templates were given; name at least one YAML file of a model")
    return found


def _check_evidence(row: dict[str, Any], i: int, name: str) -> None:
    """Refuse a row of which nothing says which answer should be chosen."""
    p_b, known = row.get("p_b"), (*SOURCES, ACTIONS)
    says = isinstance(p_b, int | float) and 0 <= p_b <= 1
    sure = row["source"] in (EXPLICIT, ACTIONS)
    for column, is_right, expected in (
        ("query_id", isinstance(row["query_id"], int | float), "a whole number"),
        ("source", row["source"] in known, f"one of {', '.join(known)}"),
        ("p_b", says or sure, "the probability of response b, in [0, 1]"),
    ):
        if not is_right:
            raise DataError(
                f"{name}: row {i}, counted from 0: '{column}' is {row.get(column)!r:.60}; expected "
                f"{expected}, as `ifllm label` writes it"
            )


def _turns_of(rows: list[dict[str, Any]], turns: pl.DataFrame, name: str) -> list[dict[str, Any]]:
    """Return the turn of every row: `query_id`, both responses and the click.

    Of actions, a is the answer that the row says is chosen, b the other one; nobody clicked.
    """
    if "message_id" in turns.columns:
        texts = {m: (parent, text) for m, parent, text in turns.select(*_MESSAGES).iter_rows()}
        return [_turn_of_messages(row, i, texts, name) for i, row in enumerate(rows)]
    of_turn = {row["query_id"]: row for row in turns.select(TURNS_OF_CHECK).iter_rows(named=True)}
    for i, row in enumerate(rows):
        if row["query_id"] not in of_turn:
            raise DataError(
                f"{name}: row {i}, counted from 0, is of query {row['query_id']}, which is not "
                "among the turns; check it against the data that it was made from"
            )
    return [of_turn[row["query_id"]] for row in rows]


def _turn_of_messages(
    row: dict[str, Any], i: int, texts: dict[str, tuple[str, str]], name: str
) -> dict[str, Any]:
    both = [texts[message] for side in _SIDES if (message := row.get(side)) in texts]
    if len(both) < 2 or both[0][0] != both[1][0]:
        raise DataError(
            f"{name}: row {i}, counted from 0: {' and '.join(_SIDES)} are not two answers to one "
            "question of these chats; check it against the data that it was made from"
        )
    return {
        "query_id": row["query_id"],
        "response_a": both[0][1],
        "response_b": both[1][1],
        "preference": None,
    }


def _chosen_side(row: dict[str, Any], i: int, turn: dict[str, Any], name: str) -> str:
    """Return which answer of its turn `chosen` is."""
    texts = (text_of(row["chosen"]), text_of(row["rejected"]))
    if texts == (turn["response_a"], turn["response_b"]):
        return "a"
    if texts == (turn["response_b"], turn["response_a"]):
        return "b"
    raise DataError(
        f"{name}: row {i}, counted from 0: chosen and rejected are not the two answers of query "
        f"{row['query_id']}; label again from these turns"
    )


def _check_against_clicks(
    rows: list[dict[str, Any]], sides: list[str], clicks: list[str | None], name: str
) -> None:
    """Refuse pairs whose chosen side is not the one that their source names."""
    wrong = [
        (row, side, should)
        for row, side, click in zip(rows, sides, clicks, strict=True)
        for should in _should_be(row, click)
        if side != should
    ]
    if wrong:
        row, side, should = wrong[0]
        what = {EXPLICIT: "the reader's click", ACTIONS: "the action"}.get(row["source"])
        what = what or f"p_b {row['p_b']:.3f}"
        hint = " Chosen and rejected look exchanged." if len(wrong) > len(rows) / 2 else ""
        raise DataError(
            f"{name}: chosen is the wrong answer in {len(wrong)} of {len(rows)} pairs; first at "
            f"query {row['query_id']}: it is {side}, but {what} names {should}.{hint} Label again, "
            "and do not train on this file"
        )


def _should_be(row: dict[str, Any], click: str | None) -> Iterator[str]:
    """Yield the side that chosen must be, if the row's source names one."""
    if row["source"] == EXPLICIT:
        yield str(click)
    elif row["source"] == ACTIONS:
        yield "a"
    elif row.get("p_b") is not None and row["p_b"] != 0.5:
        yield "b" if row["p_b"] > 0.5 else "a"


def _hold_to_turn(
    seen: dict[str, Any], side: str, turn: dict[str, Any], models: list[str], name: str
) -> None:
    """Refuse a format that shows a model another answer than the chosen one as chosen."""
    other = "b" if side == "a" else "a"
    for place, its in (("chosen", side), ("rejected", other)):
        if text_of(seen[place]).strip() != turn[f"response_{its}"].strip():
            raise DataError(
                f"{name}: {models[0]} would read another '{place}' than response {its} of query "
                f"{turn['query_id']}; this is a defect of the format, please report it"
            )


def _spread(confidence: Sequence[float], show: int) -> list[int]:
    """Return the rows to show: from the least certain to the most certain."""
    order = sorted(range(len(confidence)), key=lambda i: (confidence[i], i))
    show = min(show, len(order))
    if show < 2:
        return order[:show]
    return [order[k * (len(order) - 1) // (show - 1)] for k in range(show)]


def _shown(
    seen: dict[str, Any], row: dict[str, Any], models: list[str], look: PromptFormat
) -> dict[str, Any]:
    end = look.eos_token or "<end of text>"
    return {
        "models": models,
        "query_id": row["query_id"],
        "confidence": float(seen["confidence"]),
        "prompt": text_of(seen["prompt"]),
        "chosen": text_of(seen["chosen"]) + end,
        "rejected": text_of(seen["rejected"]) + end,
    }


def _cut(text: str) -> str:
    """Show white space, and leave the middle of long texts out."""
    if len(text) > _SHOWN_CHARS:
        half = _SHOWN_CHARS // 2
        text = f"{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}"
    return repr(text)
