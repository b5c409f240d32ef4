"""The paper's way of reading: right on clean files, wrong on damaged ones exactly as it was."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ifllm_hf.data.ledger import Ledger
from ifllm_hf.data.raw.lossy import parse_lossy
from ifllm_hf.data.raw.samples import ConversationSamples, Samples
from ifllm_hf.errors import DataError

EPOCH = "1765701338576"


def rows(samples: Samples) -> list[tuple[object, ...]]:
    assert samples.window is not None
    return list(
        zip(
            samples.x.tolist(),
            samples.y.tolist(),
            samples.window.to_list(),
            samples.caret.tolist(),
            samples.page_ms.tolist(),
            samples.camera.tolist(),
            strict=True,
        )
    )


def test_reads_records_with_and_without_a_camera_flag() -> None:
    raw = f'1.5,2,"a window ",7,10.5,1,{EPOCH}\n-1,-1,,,20,0,{EPOCH}\n3,4,,,30,{EPOCH}\n'
    samples = parse_lossy(raw.encode())
    assert rows(samples) == [
        (1.5, 2.0, "a window", 7, 10.5, 1),
        (-1.0, -1.0, "", -1, 20.0, 0),
        (3.0, 4.0, "", -1, 30.0, -1),
    ]
    assert samples.epoch_ms.tolist() == [float(EPOCH)] * 3
    assert samples.caret.dtype == np.int32 and samples.camera.dtype == np.int8


def test_a_comma_too_many_shifts_a_six_field_record() -> None:
    # The window was `a","b`: the caret index is read as page time, the page time as camera flag.
    samples = parse_lossy(f'1,2,"a","b",17,500.5,{EPOCH}\n'.encode())
    assert rows(samples) == [(1.0, 2.0, "a", -1, 17.0, 0)]


def test_a_window_that_ends_in_a_quote_swallows_the_lines_up_to_the_next_quote() -> None:
    raw = (
        f'1,2,"he said,"",7,10,1,{EPOCH}\n'
        f"-1,-1,,,20,1,{EPOCH}\n"
        f'1,2,"fine",8,30,1,{EPOCH}\n'
        f'1,2,"fine",9,40,1,{EPOCH}\n'
    )
    ledger = Ledger("file")
    samples = parse_lossy(raw.encode(), ledger)
    assert samples.page_ms.tolist() == [30.0, 40.0]
    assert samples.window is not None and "-1,-1" in samples.window[0]
    ledger.check()
    assert ledger.seen == 4
    assert ledger.dropped == {"line swallowed by a stray quote": 2}


def test_other_field_counts_and_positions_that_are_no_number_are_dropped_and_counted() -> None:
    raw = f"1,2,,3,4\nx,2,,3,4,1,{EPOCH}\n1,2,a,b,c,3,4,1,{EPOCH}\n1,2,,3,4,1,{EPOCH}\n"
    ledger = Ledger("file")
    assert len(parse_lossy(raw.encode(), ledger)) == 1
    ledger.check()
    assert sum(ledger.dropped.values()) == 3


def test_a_caret_keeps_its_integer_part_and_a_bad_time_is_nan() -> None:
    samples = parse_lossy(f"1,2,,7.9,late,1,{EPOCH}\n1,2,,nan,5,1,soon\n".encode())
    assert samples.caret.tolist() == [7, -1]
    assert math.isnan(samples.page_ms[0]) and math.isnan(samples.epoch_ms[1])


def test_an_empty_file_has_no_samples() -> None:
    ledger = Ledger("file")
    assert len(parse_lossy(b"", ledger)) == 0
    assert ledger.seen == 0


def test_columns_of_different_lengths_are_refused() -> None:
    good = parse_lossy(f"1,2,,3,4,1,{EPOCH}\n".encode())
    with pytest.raises(DataError, match="different lengths"):
        Samples(good.x[:0], good.y, good.window, good.caret, good.page_ms, good.camera, good.y)


def test_one_channel_of_the_second_answer_is_refused() -> None:
    empty = parse_lossy(b"")
    with pytest.raises(DataError, match="gaze only"):
        ConversationSamples("worker_1/2", empty, empty, gaze_b=empty)
    assert ConversationSamples("worker_1/2", empty, empty).kind == "pointwise"
    assert ConversationSamples("worker_1/2", empty, empty, empty, empty).kind == "pairwise"
