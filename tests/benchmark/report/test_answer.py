"""The first lines of `ifllm benchmark`, from scores that are made up."""

from __future__ import annotations

from typing import Any

from ifllm_hf.benchmark.report.answer import answer, first_table

NAMES = {"text alone": "text", "length alone": "length rule", "length with behaviour": "both"}


def scored(model: str, accuracy: float, **more: Any) -> dict[str, Any]:
    gain = {"d_length": accuracy - 0.6, "d_length_low": -0.01, "d_length_high": 0.07}
    return {
        "model": model, "task": "preference", "set": "all", "protocol": "worker", "subset": "all",
        "n": 787, "workers": 64, "conversations": 254, "accuracy": accuracy,
        "low": accuracy - 0.02, "high": accuracy + 0.02, **gain, **more,
    }  # fmt: skip


def test_the_answer_stands_in_four_lines_with_what_it_rests_on() -> None:
    similar = {"subset": "similar length", "n": 257, "workers": 49}
    records = [
        scored("majority", 0.5),
        *(scored(m, a) for m, a in (("text", 0.55), ("length rule", 0.6), ("both", 0.63))),
        scored("both", 0.99, protocol="rows"),
        scored("text", 0.54, **similar), scored("both", 0.61, **similar),
        scored("both", 0.1, file="mine.parquet"),
    ]  # fmt: skip
    lines = answer(records, 5, NAMES).splitlines()
    assert [line.split() for line in lines[:4]] == [
        line.split()
        for line in (
            "text alone all pairs .550 [.530, .570] similar lengths .540 [.520, .560]",
            "length alone all pairs .600 [.580, .620] similar lengths -",
            "length with behaviour all pairs .630 [.610, .650] similar lengths .610 [.590, .630]",
            "gain over length all pairs +.030 [-.010, +.070] similar lengths +.010 [-.010, +.070]",
        )
    ]
    assert len(lines) == 5 and "5 repeats" in lines[4]
    assert "n = 787 of 64 readers" in lines[4] and "n = 257 of 49 readers" in lines[4]


def test_few_data_have_no_pairs_of_similar_length() -> None:
    lines = answer([scored("both", 0.63)], 1, NAMES).splitlines()
    assert "similar" not in "".join(lines) and "1 repeat;" in lines[-1]
    assert [line[:6] for line in lines[:2]] == ["length", "gain o"]


def test_the_table_is_that_of_readers_and_of_what_a_file_predicts() -> None:
    rows = scored("both", 0.7, protocol="rows")
    theirs = scored("theirs", 0.8, protocol="rows", file="mine.parquet")
    one = first_table([scored("both", 0.63), rows])
    assert "protocol worker" in one and "protocol rows" not in one
    both = first_table([scored("both", 0.63), rows, theirs])
    assert "protocol rows" in both and "theirs (from file)" in both
