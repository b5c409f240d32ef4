"""What becomes of unpaired data and of pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.alignment.kto.judgements import load_answers
from ifllm_hf.alignment.pairs.config import PairDataConfig
from ifllm_hf.alignment.pairs.format import PreferencePairs
from ifllm_hf.errors import ConfigError, DataError, SourceError

PAST = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?\n"}]
OTHER_PAST = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "No."}]
STYLE = {"prompt_template": "Q: {prompt}\nA:"}


def row(i: int, **columns: Any) -> dict[str, Any]:
    return {
        "prompt": f"why {i}?", "completion": f"so {i}", "label": i % 3 == 0,
        "confidence": 0.5 + i / 20, "fold": i % 5, "user_id": f"u{i % 5}", "rule": "like",
        "bullet_suffix": i % 2 == 1, "history": PAST if i % 2 else PAST[:0], **columns,
    }  # fmt: skip


def load(place: Path | str, **settings: Any) -> PreferencePairs:
    return load_answers(PairDataConfig(dataset=str(place), **settings), name="answers")


def written(tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def test_an_answer_stands_behind_its_question_and_its_own_past(tmp_path: Path) -> None:
    file = tmp_path / "answers.parquet"
    pl.DataFrame([row(3), row(4)]).write_parquet(file)
    assert load(file, **STYLE).train.to_list() == [
        {"prompt": "Q: why 3?\nA:", "completion": " so 3", "confidence": 0.65, "label": True},
        {"prompt": "Q: why 4?\nA:", "completion": " so 4", "confidence": 0.7, "label": False},
    ]
    (first, second) = load(file, history="chosen", suffix=True, **STYLE).train["prompt"]
    assert first == "Q: Hi\nA: Yes?\n\nQ: why 3? respond using bullet points\nA:"
    assert second == "Q: why 4?\nA:"
    chat = load(file, prompt_format="chat", history="chosen").train[0]
    assert chat["prompt"] == [*PAST, {"role": "user", "content": "why 3?"}]
    assert chat["completion"] == [{"role": "assistant", "content": "so 3"}]


def test_a_folder_of_shards_holds_the_same_answers_and_all_of_them(tmp_path: Path) -> None:
    rows = pl.DataFrame([row(i) for i in range(6)])
    rows.write_parquet(tmp_path / "whole.parquet")
    shards = tmp_path / "shards"
    shards.mkdir()
    for i in range(2):
        rows[3 * i : 3 * i + 3].write_parquet(shards / f"train-{i:05d}-of-00002.parquet")
    assert load(shards).fingerprint == load(tmp_path / "whole.parquet").fingerprint
    (shards / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(SourceError, match="1 of 2 files"):
        load(shards)


def test_readers_are_held_out_and_every_answer_is_accounted_for(tmp_path: Path) -> None:
    rows = [*(row(i) for i in range(10)), row(1, prompt=" WHY 0? ")]
    loaded = load(written(tmp_path, rows), eval_fold=0, min_confidence=0.7, max_pairs=4)
    assert (loaded.ledger.seen, loaded.ledger.kept) == (11, 6)
    assert loaded.ledger.dropped == {
        "confidence below min_confidence": 3,
        "beyond max_pairs": 1,
        "prompt also stands in the held-out side": 1,
    }
    assert loaded.held_out is not None and len(loaded.train) == 4 and len(loaded.held_out) == 2


def test_readers_who_shaped_the_confidences_cannot_judge(tmp_path: Path) -> None:
    rows = [row(i, label_fold=None if i % 5 == 2 else i % 5) for i in range(10)]
    with pytest.raises(ConfigError, match="1 held-out readers.*eval_fold: 2"):
        load(written(tmp_path, rows), eval_fold=3)
    assert load(written(tmp_path, rows), eval_fold=2).labeller_saw == 0


def test_a_pair_is_an_answer_that_was_wanted_and_one_that_was_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = {
        "prompt": "why?", "chosen": "yes", "rejected": "no", "confidence": 0.8, "fold": 1,
        "history_chosen": PAST, "history_rejected": OTHER_PAST,
    }  # fmt: skip
    file = written(tmp_path, [pair, {**pair, "prompt": "when?", "fold": 2}])
    loaded = load(file, history="chosen", eval_fold=2, **STYLE)
    wanted = {"prompt": "Q: Hi\nA: Yes?\n\nQ: why?\nA:", "completion": " yes", "label": True}
    other = {"prompt": "Q: Hi\nA: No.\n\nQ: why?\nA:", "completion": " no", "label": False}
    assert loaded.train.to_list() == [{**one, "confidence": 0.8} for one in (wanted, other)]
    assert (loaded.ledger.seen, len(loaded.held_out or ())) == (4, 2)
    assert "not whether one is good" in caplog.text
    without = [{k: v for k, v in pair.items() if k != "history_rejected"}]
    with pytest.raises(ConfigError, match="history_rejected"):
        load(written(tmp_path, without), history="chosen")


def test_the_question_is_no_part_of_an_answer_that_repeats_it(tmp_path: Path) -> None:
    """TRL's form with messages, where a completion may hold the whole conversation."""
    user = [{"role": "user", "content": "Why?"}]
    so, no = ([{"role": "assistant", "content": text}] for text in ("So", "No"))
    rows = [
        {"prompt": user, "completion": user + so, "label": True},
        {"prompt": user, "completion": no, "label": False},
    ]
    expected = [
        {"prompt": "Q: Why?\nA:", "completion": f" {text}", "confidence": 1.0, "label": label}
        for text, label in (("So", True), ("No", False))
    ]
    assert load(written(tmp_path, rows), **STYLE).train.to_list() == expected
    texts = [{"prompt": "Why?", "completion": f"Why? {i}", "label": i > 0} for i in range(2)]
    with pytest.raises(DataError, match="begins with the whole 'prompt' in 2 of 2"):
        load(written(tmp_path, texts))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ([row(0), row(3)], DataError, "all 2 labels .* true"),
        ([row(1), row(2)], DataError, "all 2 labels .* false"),
        ([row(0, label=1), row(1, label=0)], DataError, "'label' is neither.*2 of 2.*cast"),
        ([row(0), row(1, label=None)], DataError, "'label' is neither.*first at row 1"),
        ([row(0), row(1, completion=" ")], DataError, "'completion' is empty in 1 of 2"),
        ([row(0), row(1, completion=None)], DataError, "'completion' is empty in 1 of 2"),
        ([row(0), row(1, prompt="")], DataError, "'prompt' is empty"),
        ([row(0, confidence=0.5), row(1, confidence=0.2)], DataError, "'label' is right"),
        ([{"prompt": "a", "completion": "b"}], DataError, "no column label; it has prompt, comp"),
        ([{"text": "a"}], DataError, "no column completion and no column label; .*chosen"),
        ([{"completion": "a", "label": True}], DataError, "no column prompt"),
        ([], DataError, "0 answers"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line(
    rows: list[dict[str, Any]], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as found:
        load(written(tmp_path, rows))
    assert "\n" not in str(found.value)


def test_a_setting_that_needs_a_column_says_so(tmp_path: Path) -> None:
    plain = [{"prompt": f"{i}", "completion": "b", "label": i > 0} for i in range(2)]
    for settings, column in (({"history": "chosen"}, "history"), ({"eval_fold": 3}, "fold")):
        with pytest.raises(ConfigError, match=f"no column '{column}'"):
            load(written(tmp_path, plain), **settings)
    assert load(written(tmp_path, plain)).train["confidence"] == [1.0, 1.0]
    with pytest.raises(ConfigError, match="no answer has fold 9"):
        load(written(tmp_path, [row(0), row(1)]), eval_fold=9)
    with pytest.raises(SourceError, match="no such file"):
        load(tmp_path / "nowhere.parquet")


def test_what_ifllm_label_writes_is_read_each_answer_in_its_own_past(tmp_path: Path) -> None:
    from ifllm_hf.alignment.labels.actions.unpaired_labels import write_unpaired_actions
    from ifllm_hf.data.imports.import_chats import import_open_webui
    from tests.helpers.chats.open_webui_chats import two_answers, write_export

    chat = two_answers()
    chat.ask("q2", "And at night?", after="left")
    chat.answer("n1", "Dark.", "q2")
    chat.answer("n2", "Stars.", "q2")  # a new attempt
    export = write_export(tmp_path / "export.json", [chat.rate("left", 1, 9)])
    import_open_webui([export], tmp_path / "chats", progress=False)
    write_unpaired_actions(tmp_path / "chats", tmp_path / "answers.parquet")
    loaded = load(tmp_path / "answers.parquet", history="chosen", **STYLE)
    liked, left = loaded.train.to_list()
    assert liked["prompt"] == "Q: Why is the sky blue?\nA:" and liked["label"] is True
    assert liked["confidence"] == pytest.approx(0.6)
    assert left == {
        "prompt": f"Q: Why is the sky blue?\nA:{liked['completion']}\n\nQ: And at night?\nA:",
        "completion": " Dark.", "confidence": pytest.approx(0.55), "label": False,
    }  # fmt: skip
