"""The model that comes with the package loads by no name at all, and says who it knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ifllm_hf
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.pretrained.heads import ALL, READERS_FILE, Heads, reader_digest
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, TICKS


@pytest.fixture(scope="module")
def scorer() -> Any:
    from transformers import pipeline

    return pipeline("implicit-reward", device="cpu")


def test_a_pipeline_without_a_model_takes_it(scorer: Any) -> None:
    a, b = scorer(QUESTION, ANSWERS, TICKS)
    for one in (a, b):
        assert one["length"] + one["late_reading"] == pytest.approx(one["score"], abs=1e-5)
        assert set(one) == {"score", "behavior", "length", "late_reading", "preference"}
    # The reader ended on b by mouse and on a by eye; b is longer.
    assert b["length"] > a["length"] and a["late_reading"] != b["late_reading"] != 0
    assert a["preference"] + b["preference"] == pytest.approx(1)
    blind, _ = scorer(QUESTION, ANSWERS)
    assert (blind["late_reading"], blind["behavior"]) == (0, 0)
    messages = [{"role": "user", "content": "{{ hi }}"}, {"role": "user", "content": QUESTION}]
    assert scorer(messages, ANSWERS, TICKS)[0] == pytest.approx(a, abs=1e-5)


def test_it_says_why_in_words(scorer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = scorer.why(QUESTION, ANSWERS, TICKS)
    assert any(sentence.startswith("B is longer (") for sentence in said)
    assert any(sentence.startswith(("The mouse", "The eyes")) for sentence in said)
    # A stranger, who has the files of the model and not this package.
    monkeypatch.setattr(type(scorer), "in_words", None)
    with pytest.raises(DataError, match="install it"):
        scorer.why(QUESTION, ANSWERS, TICKS)


def test_nothing_to_read_is_refused(scorer: Any) -> None:
    with pytest.raises(DataError, match="nothing to read"):
        scorer(QUESTION, [None, None])


def test_what_is_saved_names_no_place_of_this_machine(scorer: Any, tmp_path: Path) -> None:
    scorer.save_pretrained(tmp_path)
    saved = (tmp_path / "config.json").read_text()
    assert "late-reading" not in saved and "implicit-reward" in saved


def test_it_is_small_and_its_heads_leave_out_one_fold_each() -> None:
    folder = ifllm_hf.pretrained("late-reading")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 25_000
    assert not list(folder.glob("*.py"))
    heads = Heads.of(folder)
    assert heads is not None
    folds = [heads.seen[f"fold_{k}"] for k in range(5)]
    left_out = [heads.seen[ALL] - seen for seen in folds]
    assert sum(map(len, left_out)) == len(heads.seen[ALL]) == len(frozenset().union(*left_out))
    assert f"{len(heads.seen[ALL])} readers" in (folder / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="late-reading"):
        ifllm_hf.pretrained("early-reading")


def test_a_reader_gets_the_head_that_has_not_seen_them(tmp_path: Path) -> None:
    seen = {ALL: {"ann", "bob", "eve"}, "fold_0": {"bob", "eve"}, "fold_1": {"ann", "eve"}}
    heads = Heads({h: frozenset(map(reader_digest, names)) for h, names in seen.items()})
    names = ("ann", "bob", "new", "eve")
    assert [heads.for_reader(n) for n in names] == ["fold_0", "fold_1", ALL, ALL]
    assert [heads.has_seen(heads.for_reader(n), n) for n in names] == [False, False, False, True]
    with pytest.raises(ConfigError, match="fold_0"):
        heads.has_seen("fold_7", "ann")
    assert Heads.of(tmp_path) is None and Heads.of("ORG/NAME") is None
    (tmp_path / "run.json").write_text(json.dumps({"data": {"readers": ["ann"]}}))
    told = Heads.of(tmp_path)
    assert told is not None and told.has_seen(ALL, "ann") and not told.has_seen(ALL, "bob")


def test_heads_without_readers_are_refused(tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(ifllm_hf.pretrained(), folder)
    (folder / READERS_FILE).write_text(json.dumps({ALL: [], "fold_0": []}))
    with pytest.raises(DataError, match="expected the same"):
        Heads.of(folder)
