from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ifllm_hf.benchmark.audit.report import audit_text
from ifllm_hf.benchmark.audit.run import Audit, PageAudit, audit_page, leak_probe
from ifllm_hf.errors import DataError
from tests.helpers.audit.pages import BEGIN, LOOK, page_pairs

QUIET = [
    {"learner": name, "n": 120, "workers": 30, "auc": 0.5, "auc_low": 0.45, "auc_high": 0.55}
    for name in ("booster", "logistic")
]


def audited(pairs: pl.DataFrame, leaks=QUIET, **settings) -> PageAudit:
    return audit_page(None, 99, pairs, leaks, **{"now": LOOK} | settings)


def text_of(tmp_path, *pages: PageAudit) -> str:
    return audit_text(Audit(tmp_path, 0.05, pages=list(pages)))


def test_a_page_with_signal_is_told_so(tmp_path) -> None:
    found = audited(page_pairs())
    assert found.verdict == "yes" and found.gain.low > 0
    assert found.gain.n == 30 and found.used.kept == 120 and found.readers == 30
    assert found.behavior.estimate == pytest.approx(0.9, abs=0.06)
    assert found.length.estimate == pytest.approx(0.5, abs=0.1)
    record = json.loads(json.dumps(found.record, allow_nan=False))
    assert record["gain"]["readers"] == 30 and record["verdict"] == "yes"
    assert record["leak_probe"] == QUIET
    text = text_of(tmp_path, found)
    assert "120 of 30 readers" in text and "yes: " in text
    assert "page" not in text.splitlines()[0]


def test_a_pointer_that_saw_the_click_forbids_a_yes() -> None:
    pairs = page_pairs(leak=True)
    leaks = leak_probe(pairs, repeats=1, progress=False)
    assert {leak["learner"] for leak in leaks} == {"booster", "logistic"}
    assert min(leak["auc_low"] for leak in leaks) > 0.9
    found = audited(pairs, leaks)
    assert found.gain.low > 0 and found.verdict == "not yet" and "click" in found.why


def test_few_readers_are_not_enough_whatever_they_show(tmp_path) -> None:
    for readers in (1, 4):
        pairs = page_pairs(readers, right=1.0)
        assert leak_probe(pairs) == []
        found = audited(pairs, [])
        assert found.verdict == "not yet" and found.gain.low <= 0 and found.needed is None
        assert "not run" in text_of(tmp_path, found)
    json.dumps(found.record, allow_nan=False)


def test_no_gain_is_said_once_the_interval_ends_below_what_is_worth_having() -> None:
    pairs = page_pairs(12, right=1.0)
    b = pl.col("preference") == "b"
    like_length = pairs.with_columns(p_b=pl.col("response_chars_b") / 200)
    assert audited(like_length).verdict == "not yet"
    wide = audited(like_length, width=0.4)
    assert wide.verdict.startswith("no gain above +.") and wide.gain.estimate == 0
    worse = audited(pairs.with_columns(p_b=pl.when(b).then(0.1).otherwise(0.9)))
    assert worse.gain.high < 0 and worse.verdict.startswith("no gain above -.")


def test_who_reads_now_is_in_the_accuracy_but_not_yet_in_the_gain(tmp_path) -> None:
    found = audited(page_pairs(30), now=BEGIN + timedelta(hours=20))
    assert found.readers == 30 and found.gain.n < 20
    assert "of who reads now" in text_of(tmp_path, found)


def test_an_earlier_look_is_the_beginning_of_a_later_one() -> None:
    pairs = page_pairs(30)
    looks = [audited(pairs, now=BEGIN + timedelta(hours=h)).gain for h in (8, 16, 40)]
    assert looks[0].n < looks[1].n < looks[2].n == 30
    assert looks[0].low <= looks[1].low <= looks[2].low


def test_pairs_that_cannot_be_used_are_counted_by_reason(tmp_path) -> None:
    pairs = page_pairs(10).with_columns(
        why=pl.when(pl.col("query_id") < 3).then(pl.lit("tie")).otherwise(None)
    )
    found = audited(pairs)
    assert found.pairs.dropped == {"tie": 3} and found.pairs.kept == 37
    assert "3 tie" in text_of(tmp_path, found)
    nothing = audited(pairs.with_columns(why=pl.lit("tie")))
    assert nothing.verdict == "not yet" and nothing.readers == 0
    json.dumps(nothing.record, allow_nan=False)


def test_readers_whom_the_model_was_built_on_are_named(tmp_path) -> None:
    pairs = page_pairs(10)
    pairs = pairs.with_columns(
        head=pl.when(pl.col("user_id") < "reader_3").then(pl.lit("fold_1")).otherwise("head")
    )
    found = audited(pairs)
    assert found.known == 3 and "3 of them" in text_of(tmp_path, found)
    assert "of them belong" not in text_of(tmp_path, audited(page_pairs(10)))


def test_pages_share_the_chance_to_be_wrong(tmp_path) -> None:
    alone = audited(page_pairs(20))
    of_two = audit_page("chat", 9, page_pairs(20), QUIET, level=0.975, now=LOOK)
    assert of_two.gain.low < alone.gain.low
    text = text_of(tmp_path, of_two, of_two)
    assert text.startswith("page chat\n") and "all 2 pages together" in text


def test_a_prediction_that_is_no_number_is_refused() -> None:
    broken = page_pairs(6).with_columns(
        p_b=pl.when(pl.col("query_id") == 5).then(np.nan).otherwise("p_b")
    )
    with pytest.raises(DataError, match="p_b"):
        audited(broken)
