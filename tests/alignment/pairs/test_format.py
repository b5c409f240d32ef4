from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.errors import ConfigError, DataError

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

PAST = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?\n"}]


def write(tmp_path: Path, rows: list[dict[str, Any]]) -> str:
    path = tmp_path / "pairs.parquet"
    pl.DataFrame(rows).write_parquet(path)
    return str(path)


def row(i: int, **columns: Any) -> dict[str, Any]:
    return {
        "prompt": f"why {i}?",
        "chosen": f"good {i}",
        "rejected": f"bad {i}",
        "confidence": 0.5 + i / 10,
        "fold": i % 5,
        "bullet_suffix": i % 2 == 1,
        "history_chosen": PAST if i else [{"role": "user", "content": "x"}][:0],
        **columns,
    }


def load(path: str, **settings: Any) -> Any:
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.pairs.format import load_pairs

    return load_pairs(PairDataConfig(dataset=path, **settings), name="pairs.parquet")


def test_settings_of_pairs_need_neither_torch_nor_trl() -> None:
    code = "import sys, ifllm_hf.alignment.pairs.config as c; c.PairDataConfig('made-up'); "
    code += "assert not {'torch', 'trl', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_template_writes_exactly_this(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1)])
    assert load(path, prompt_template="Q: {prompt}\nA:").train[0] == {
        "prompt": "Q: why 1?\nA:",
        "chosen": " good 1",
        "rejected": " bad 1",
        "confidence": 0.6,
    }


def test_history_and_suffix_stand_where_they_were(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1), row(2)])
    loaded = load(path, history="chosen", suffix=True, prompt_template="Q: {prompt}\nA:")
    assert [r["prompt"] for r in loaded.train] == [
        "Q: Hi\nA: Yes?\n\nQ: why 1? respond using bullet points\nA:",
        "Q: Hi\nA: Yes?\n\nQ: why 2?\nA:",
    ]


def test_chat_format_keeps_messages(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1)])
    (seen,) = load(path, history="chosen", suffix=True, prompt_format="chat").train
    question = {"role": "user", "content": "why 1? respond using bullet points"}
    assert seen["prompt"] == [*PAST, question]
    assert seen["chosen"] == [{"role": "assistant", "content": "good 1"}]


def test_conversational_datasets_fit_both_formats(tmp_path: Path) -> None:
    user, yes, no = (
        [{"role": "user", "content": "why?"}],
        [{"role": "assistant", "content": "yes"}],
        [{"role": "assistant", "content": "no"}],
    )
    path = write(tmp_path, [{"prompt": user, "chosen": yes, "rejected": no}])
    assert load(path, prompt_format="chat").train[0]["prompt"] == user
    seen = load(path, prompt_template="Q: {prompt}\nA:").train[0]
    assert (seen["prompt"], seen["chosen"], seen["confidence"]) == ("Q: why?\nA:", " yes", 1.0)


def test_a_template_with_braces_in_the_question_is_safe(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1, prompt="what is {prompt} in {0}?")])
    assert load(path, prompt_template="Q: {prompt}\nA:").train[0]["prompt"] == (
        "Q: what is {prompt} in {0}?\nA:"
    )


def test_every_row_is_accounted_for(tmp_path: Path) -> None:
    rows = [row(i) for i in range(5)]
    rows += [row(1, prompt=" WHY 0? "), row(2, chosen="other")]  # the first also stands in fold 0
    loaded = load(write(tmp_path, rows), eval_fold=0, min_confidence=0.7, max_pairs=3)
    assert loaded.ledger.to_dict() == {
        "seen": 7,
        "kept": 4,
        "repaired": 0,
        "repaired_by": {},
        "dropped": {
            "beyond max_pairs": 1,
            "confidence below min_confidence": 1,
            "prompt also stands in the held-out side": 1,
        },
    }
    assert (len(loaded.train), len(loaded.held_out)) == (3, 1)
    held = {r["prompt"].casefold() for r in loaded.held_out}
    assert not held & {r["prompt"].casefold() for r in loaded.train}


def test_the_fingerprint_follows_what_the_model_reads(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1), row(2)])
    plain = load(path).fingerprint
    assert plain == load(path, dataset_split="train").fingerprint
    others = [load(path, suffix=True), load(path, history="chosen"), load(path, max_pairs=1)]
    assert len({plain, *(other.fingerprint for other in others)}) == 4


def test_settings_that_need_a_missing_column_say_so(tmp_path: Path) -> None:
    bare = {"prompt": "p", "chosen": "a", "rejected": "b"}
    path = write(tmp_path, [bare])
    for settings, message in (
        ({"eval_fold": 0}, "no column 'fold', which eval_fold 0"),
        ({"history": "chosen"}, "no column 'history_chosen', which history: chosen needs"),
        ({"suffix": True}, "no column 'bullet_suffix', which suffix: true needs"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(path, **settings)


def test_nothing_left_on_a_side_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, [row(1), row(6, confidence=0.9)])
    with pytest.raises(ConfigError, match=r"fold 3; .*\[1\]"):
        load(path, eval_fold=3)
    with pytest.raises(DataError, match="0 pairs left to train on"):
        load(path, eval_fold=1)
    only_space = write(tmp_path, [row(1, chosen="same ", rejected=" same")])
    with pytest.raises(DataError, match="row 0 .*white space"):
        load(only_space)


def test_a_reader_is_on_one_side(tmp_path: Path) -> None:
    users = ["a" if i in (2, 6) else f"b{i}" for i in range(10)]
    path = write(tmp_path, [row(i, confidence=1.0, user_id=user) for i, user in enumerate(users)])
    with pytest.raises(DataError, match="row 6.*'a' has rows in the held-out fold and in others"):
        load(path, eval_fold=2)
    assert load(path, eval_fold=3).train.num_rows == 8  # both rows of a are trained on


def test_held_out_readers_trained_no_labelling_model(tmp_path: Path) -> None:
    users = ["a", "b", "a", "c", "d", "c"]
    folds = [0, 0, 0, 1, 2, 1]
    rows = [row(i, user_id=u, fold=f) for i, (u, f) in enumerate(zip(users, folds, strict=True))]
    for all_taught in (False, True):  # else those of fold 1 were kept apart
        labelled = [r | {"label_fold": -1 if r["fold"] == 1 > all_taught else 0} for r in rows]
        path = write(tmp_path, labelled)
        with pytest.raises(ConfigError) as refused:
            load(path, eval_fold=0)
        message = str(refused.value)
        assert "2 held-out readers (fold 0, 3 pairs)" in message
        assert "--judge-fold 0 and --inputs" in message
        assert ("eval_fold: 1" in message) != all_taught
        assert load(path, eval_fold=0, labeller_may_see_judged_readers=True).labeller_saw == 3
        assert load(path).labeller_saw == 0  # nobody is held out
    assert load(write(tmp_path, rows), eval_fold=0).labeller_saw == 0  # no model labelled
    clicks = [r | {"label_fold": None} for r in rows]
    assert load(write(tmp_path, clicks), eval_fold=0).labeller_saw == 0


HH = {
    "chosen": "\n\nHuman: Hi?\n\nAssistant: Hello",
    "rejected": "\n\nHuman: Hi?\n\nAssistant: Help",
}


def test_a_text_with_its_own_template_is_read_as_it_is(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, [HH]))
    (seen,) = loaded.train
    assert loaded.own_template == 1
    assert {side: seen["prompt"] + seen[side] for side in HH} == HH
    (seen,) = load(write(tmp_path, [HH]), prompt_format="chat").train
    assert seen["prompt"] == [{"role": "user", "content": "Hi?"}]
    assert seen["chosen"] == [{"role": "assistant", "content": "Hello"}]
    plain = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    with pytest.raises(DataError, match="row 0.*'prompt' carries"):
        load(write(tmp_path, [plain]), prompt_format="chat")
    inside = {**HH, "bullet_suffix": True, "history_chosen": PAST}
    for settings in ({"suffix": True}, {"history": "chosen"}):
        with pytest.raises(DataError, match="row 0.*'prompt' carries"):
            load(write(tmp_path, [inside]), **settings)


def test_a_system_turn_is_kept_in_both_formats(tmp_path: Path) -> None:
    orca = {"system": "Be brief.", "question": "why?", "chosen": "so", "rejected": "no"}
    path = write(tmp_path, [orca])
    assert load(path).train[0]["prompt"] == "Be brief.\n\nQuestion: why?\n\nAnswer:"
    assert load(path, prompt_format="chat").train[0]["prompt"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "why?"},
    ]


def test_a_past_beside_messages_is_never_lost(tmp_path: Path) -> None:
    """A system turn of its own column makes messages of a plain question."""
    alone = row(1, system="Be brief.", history_chosen=None)
    assert load(write(tmp_path, [alone]), history="chosen").train[0]["prompt"].startswith("Be")
    with pytest.raises(DataError, match="row 0.*'history_chosen'"):
        load(write(tmp_path, [row(1, system="Be brief.")]), history="chosen")
    kinds = [{**HH, "prompt": "why?", "system": text} for text in ("Be brief.", None)]
    with pytest.raises(ConfigError, match="history_chosen"):
        load(write(tmp_path, kinds), history="chosen")


@pytest.mark.parametrize("column", ["fold", "label_fold"])
def test_folds_are_numbers(tmp_path: Path, column: str) -> None:
    with pytest.raises(DataError, match=f"row 0.*'{column}' is '1'"):
        load(write(tmp_path, [row(1, **{column: "1"})]), eval_fold=1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt_template": "no place"}, "prompt_template"),
        ({"min_confidence": 0.2}, "min_confidence is 0.2"),
        ({"max_pairs": 0}, "max_pairs is 0"),
        ({"history": "both"}, "history is 'both'.*none, chosen"),
    ],
)
def test_settings_no_dataset_could_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load("unused", **settings)


def test_scores_by_who_knew_the_held_out_readers_are_refused(tmp_path: Path) -> None:
    rows = [row(i, user_id=f"w{i}", held_out=i != 3) for i in range(5)]
    path = write(tmp_path, rows)
    assert load(path, eval_fold=2).held_out.num_rows == 1
    with pytest.raises(DataError, match=r"pairs.parquet: held_out is false .* at row 3.*reader w3"):
        load(path, eval_fold=3)
