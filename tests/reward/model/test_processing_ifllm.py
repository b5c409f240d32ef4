"""What the processor makes of one turn, value by value, and what it refuses to read."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.errors import DataError
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS
from ifllm_hf.reward.model.feature_extraction_ifllm import IFLLMFeatureExtractor
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from tests.helpers.reward.processed_turn import (
    ANSWERS,
    TICKS,
    changed,
    column,
    encode,
    log,
    without,
    word_processor,
)


@pytest.fixture(scope="module")
def processor() -> IFLLMProcessor:
    return word_processor()


def test_shapes_and_types_are_those_of_the_model(processor: IFLLMProcessor) -> None:
    batch = encode(processor)
    rows, tokens = batch["input_ids"].shape
    assert (rows, tokens) == (2, 7)  # <s> why </s> one two three </s>
    shapes = {name: tuple(value.shape) for name, value in batch.items()}
    assert shapes == {
        "input_ids": (2, 7),
        "attention_mask": (2, 7),
        "token_behavior": (2, 7, len(TOKEN_CHANNELS)),
        "token_behavior_mask": (2, 7, len(TOKEN_CHANNELS)),
        "trajectory": (2, 6, len(CHANNELS)),
        "trajectory_observed": (2, 6, len(CHANNELS)),
        "trajectory_time_ms": (2, 6),
        "trajectory_mask": (2, 6),
        "context": (2, 5),
    }
    for name, value in batch.items():
        wanted = (
            torch.float32
            if name in ("token_behavior", "trajectory", "trajectory_time_ms", "context")
            else torch.int64
            if name in ("input_ids", "attention_mask")
            else torch.bool
        )
        assert value.dtype == wanted, name


def test_two_answers_without_a_question_are_one_turn(processor: IFLLMProcessor) -> None:
    alone = processor(None, ANSWERS, TICKS, return_tensors="pt")
    batch = processor([None], [ANSWERS], {name: [v] for name, v in TICKS.items()})
    assert alone["trajectory"].shape == (2, 6, len(CHANNELS))
    np.testing.assert_allclose(alone["trajectory"], np.stack(batch["trajectory"]))


def test_texts_are_cut_at_what_the_tokenizer_takes_and_at_1024(processor: IFLLMProcessor) -> None:
    tokenizer = copy.deepcopy(processor.tokenizer)
    for takes, cut in ((512, 512), (int(1e30), 1024)):
        tokenizer.model_max_length = takes
        assert IFLLMProcessor(tokenizer).max_length == cut
    assert IFLLMProcessor(tokenizer, max_length=2048).max_length == 2048


def test_tokens_say_what_happened_on_them(processor: IFLLMProcessor) -> None:
    batch = encode(processor)

    def of(name: str, row: int = 0) -> list[float | None]:
        return column(batch, row, name, "token_behavior")[3:6]

    # one: 100 ms at 0, and the last tick of reading, which has no time; back from `three` is a
    # regression. two: 100 ms. three: after a gap of 2,700 ms that belongs to the tick before.
    assert of("mouse_dwell_ms") == [log(0.1), log(0.1), log(0.1)]
    assert of("mouse_visits") == [log(2), log(1), log(1)]
    assert of("mouse_first_ms") == [0.0, log(0.1), log(3.0)]
    assert of("mouse_last_ms") == [log(3.1), log(0.1), log(3.0)]
    assert of("mouse_regressions") == [log(1), 0.0, 0.0]
    # b: `four` was never visited by the mouse; `five` for 100 ms.
    assert of("mouse_dwell_ms", 1)[:2] == [0.0, log(0.1)]
    assert of("mouse_first_ms", 1)[:2] == [None, log(0.2)]
    # The gaze was there once, and nothing followed: no time, one visit.
    assert of("gaze_dwell_ms", 1)[:2] == [0.0, 0.0]
    assert of("gaze_visits", 1)[:2] == [log(1), 0.0]
    # Nothing is observed on the question, on special tokens and padding.
    for row, answer in ((0, slice(3, 6)), (1, slice(3, 5))):
        elsewhere = batch["token_behavior_mask"][row].clone()
        elsewhere[answer] = False
        assert not elsewhere.any()
        assert batch["token_behavior_mask"][row, answer].any()


def test_ticks_are_seen_from_each_answer(processor: IFLLMProcessor) -> None:
    batch = encode(processor)
    assert column(batch, 0, "mouse_on_this") == [1, 1, 0, 0, 1, 1]
    assert column(batch, 1, "mouse_on_this") == column(batch, 0, "mouse_on_other")
    assert column(batch, 0, "mouse_on_this") == column(batch, 1, "mouse_on_other")
    assert column(batch, 0, "mouse_on_neither") == [0, 0, 0, 1, 0, 0]
    assert column(batch, 0, "mouse_char_share") == [
        0.0,
        round(4 / 13, 6),
        None,
        None,
        round(12 / 13, 6),
        round(1 / 13, 6),
    ]
    assert column(batch, 0, "gaze_on_this") == [None, 0, None, None, None, None]
    assert column(batch, 0, "until_end_ms") == [log(s) for s in (3.1, 3.0, 2.9, 2.8, 0.1, 0.0)]
    assert batch["trajectory_time_ms"].tolist() == [[0, 100, 200, 300, 3000, 3100]] * 2


def test_exchanging_left_and_right_exchanges_the_rows(processor: IFLLMProcessor) -> None:
    other = {"a": "b", "b": "a"}
    ticks = changed(
        mouse_on=[other.get(s, s) for s in TICKS["mouse_on"]],
        gaze_on=[other.get(s, s) for s in TICKS["gaze_on"]],
    )
    batch = encode(processor)
    swapped = processor("why", ANSWERS[::-1], ticks, return_tensors="pt")
    for name, value in batch.items():
        assert torch.equal(value, swapped[name].flip(0)), name


def test_only_reading_is_seen_unless_asked_by_name(processor: IFLLMProcessor) -> None:
    batch = encode(processor)
    moved = changed(mouse_on=[*TICKS["mouse_on"][:-1], "a"], mouse_char=[0, 4, 5, None, 12, 1, 3])
    longer = {name: [*values, values[-1]] for name, values in moved.items()}
    for ticks in (moved, longer):
        for name, value in encode(processor, ticks).items():
            assert torch.equal(value, batch[name]), name
    everything = encode(processor, include_contaminated_ticks=True)
    assert everything["trajectory"].shape[1] == 7


def test_reading_in_pieces_is_cut_out(processor: IFLLMProcessor) -> None:
    phase = ["reading", "rating", "reading", "after", "reading", "reading", "after"]
    batch = encode(processor, changed(phase=phase))
    assert column(batch, 0, "mouse_on_this") == [1, 0, 1, 1]
    assert batch["trajectory_time_ms"][0].tolist() == [0, 200, 3000, 3100]


def test_ticks_without_phases_are_not_taken_for_reading(processor: IFLLMProcessor) -> None:
    with pytest.raises(DataError, match="include_contaminated_ticks=True"):
        encode(processor, without("phase"))
    assert encode(processor, without("phase"), include_contaminated_ticks=True)


def test_screen_coordinates_change_nothing_but_whether_a_channel_was_recorded(
    processor: IFLLMProcessor,
) -> None:
    somewhere = encode(processor, changed(mouse_x_px=[1.0, 2, 3, 4, 5, 6, 7]))
    elsewhere = encode(processor, changed(mouse_x_px=[7.0, 6, 5, 4, 3, 2, 1]))
    nowhere = encode(processor, changed(mouse_x_px=[7.0, 6, 5, None, 3, 2, 1]))
    for name, value in encode(processor).items():
        assert torch.equal(value, somewhere[name]) and torch.equal(value, elsewhere[name]), name
    assert column(nowhere, 0, "mouse_on_neither") == [0, 0, 0, None, 0, 0]


@pytest.mark.parametrize(
    "name",
    ["mouse_x_px", "gaze_rel_y_px_a", "gaze_rel_y_px_this", "surface", "mouse_on", "phase"],
)
def test_no_channel_reaches_behind_the_wall(name: str) -> None:
    with pytest.raises(DataError, match="feed no model"):
        IFLLMFeatureExtractor(channels=[*CHANNELS, name])


def test_what_is_missing_is_masked(processor: IFLLMProcessor) -> None:
    mouse_only = encode(processor, without("gaze_on", "gaze_char"))
    assert column(mouse_only, 0, "gaze_on_this") == [None] * 6
    assert column(mouse_only, 0, "gaze_dwell_ms", "token_behavior") == [None] * 7
    assert column(mouse_only, 0, "mouse_on_this") == [1, 1, 0, 0, 1, 1]

    text_only = encode(processor, None)
    assert set(text_only) == {"input_ids", "attention_mask", "context"}

    some = processor(
        ["why", "why"], [ANSWERS, ANSWERS], [None, TICKS], return_tensors="pt"
    )  # one row per turn
    assert some["trajectory_mask"].sum(1).tolist() == [0, 0, 6, 6]
    assert not some["token_behavior_mask"][:2].any() and not some["trajectory_observed"][:2].any()

    nothing = encode(processor, {name: [] for name in TICKS})
    assert nothing["trajectory"].shape[1] == 1 and not nothing["trajectory_mask"].any()

    no_text = processor("why", [None, None], TICKS, return_tensors="pt")
    assert "input_ids" not in no_text and "token_behavior" not in no_text
    assert column(no_text, 0, "mouse_on_this") == [1, 1, 0, 0, 1, 1]
    assert column(no_text, 0, "mouse_char_share") == [None] * 6

    half = processor("why", ["one two three", None], TICKS, return_tensors="pt")
    assert half["attention_mask"].sum(1).tolist() == [7, 0]

    pointwise = processor(
        "why", "one two three", changed(mouse_on=["a"] * 7, mouse_char=[0] * 7, gaze_on=[None] * 7)
    )
    assert len(pointwise["input_ids"]) == len(pointwise["trajectory"]) == 1


def test_a_reload_of_the_page_is_no_jump_in_time(processor: IFLLMProcessor) -> None:
    ticks = changed(
        t_ms=[5000.0, 5100.0, 20.0, 120.0, 300.0, 400.0, 500.0], page_load=[0, 0, 1, 1, 1, 1, 1]
    )
    batch = encode(processor, ticks)
    assert batch["trajectory_time_ms"][0].tolist() == [0, 100, 100, 200, 380, 480]
    # The last tick before the reload stands for no time.
    assert column(batch, 0, "mouse_dwell_ms", "token_behavior")[4] == 0.0


def test_an_undeclared_column_becomes_a_channel(processor: IFLLMProcessor) -> None:
    named = IFLLMProcessor(
        processor.tokenizer, IFLLMFeatureExtractor(channels=[*CHANNELS, "heart_rate"])
    )
    rate = [60.0, None, float("nan"), 75.0, 80.0, 66.0, 200.0]
    batch = encode(named, changed(heart_rate=rate))
    assert batch["trajectory"][0, :, -1].tolist() == [60, 0, 0, 75, 80, 66]
    assert batch["trajectory_observed"][0, :, -1].tolist() == [1, 0, 0, 1, 1, 1]
    absent = encode(named)
    assert not absent["trajectory_observed"][..., -1].any()
    with pytest.raises(DataError, match=r"row 0, field 'heart_rate': inf"):
        encode(named, changed(heart_rate=[float("inf"), *rate[1:]]))


def test_columns_of_an_answer_are_seen_from_the_answer(processor: IFLLMProcessor) -> None:
    channels = [*CHANNELS, "scroll_y_px_this", "scroll_y_px_other"]
    named = IFLLMProcessor(processor.tokenizer, IFLLMFeatureExtractor(channels=channels))
    a, b = [0.0, None, 40.0, None, 90.0, None, 7.0], [None, 5.0, None, None, 8.0, 9.0, 7.0]
    batch = encode(named, changed(scroll_y_px_a=a, scroll_y_px_b=b))
    for row, this, other in ((0, a, b), (1, b, a)):
        for at, wanted in ((-2, this), (-1, other)):
            seen = [v is not None for v in wanted[:6]]
            assert batch["trajectory_observed"][row, :, at].bool().tolist() == seen
            assert batch["trajectory"][row, :, at].tolist() == [v or 0.0 for v in wanted[:6]]
    with pytest.raises(DataError, match="'scroll_y_px_this' or 'scroll_y_px_other'"):
        IFLLMFeatureExtractor(channels=[*CHANNELS, "scroll_y_px_b"])


@given(n=st.integers(1, 60), most=st.integers(1, 20), seed=st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_joined_ticks_keep_their_time_and_their_mean(n: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.integers(1, 300, n)).astype(float)
    rate = np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n))
    extractor = IFLLMFeatureExtractor(channels=["heart_rate"], token_channels=[], max_ticks=most)
    ticks = {"t_ms": [time], "phase": [["reading"] * n], "heart_rate": [rate]}
    out = extractor(ticks, [[5]])
    values, seen = out["trajectory"][0][:, 0], out["trajectory_observed"][0][:, 0]
    stamps = out["trajectory_time_ms"][0]
    assert len(values) == min(n, most)
    whole = time - time[0]
    assert stamps[0] == 0 and set(stamps) <= set(whole.astype(np.float32))
    edges = np.append(np.searchsorted(whole, stamps), n)
    assert np.ptp(np.diff(edges)) <= 1  # groups of equal size
    for k, (begin, stop) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        here = rate[begin:stop][~np.isnan(rate[begin:stop])]
        assert seen[k] == bool(here.size)
        assert values[k] == pytest.approx(here.mean() if here.size else 0.0, abs=1e-5)


def test_steps_join_a_fast_recording(processor: IFLLMProcessor) -> None:
    slow = IFLLMProcessor(processor.tokenizer, IFLLMFeatureExtractor(step_ms=200.0))
    batch = encode(slow)
    assert batch["trajectory_time_ms"][0].tolist() == [0, 200, 3000]
    assert column(batch, 0, "mouse_on_this") == [1, 0, 1]
    assert column(batch, 0, "mouse_char_share") == [round(2 / 13, 6), None, 0.5]


@pytest.mark.parametrize(
    ("field", "ticks", "says"),
    [
        ("t_ms", changed(t_ms=[1000.0, 900.0, *TICKS["t_ms"][2:]]), "runs backwards from 1000.0"),
        ("t_ms", changed(t_ms=[float("nan"), *TICKS["t_ms"][1:]]), "a tick's time is nan"),
        ("t_ms", changed(t_ms=[None, *TICKS["t_ms"][1:]]), "a tick's time is nan"),
        ("mouse_char", changed(mouse_char=[13, 4, 5, None, 12, 1, 0]), "13 on answer a, which has"),
        ("gaze_char", changed(gaze_char=[None, -1, *[None] * 5]), "-1 on answer b"),
        ("mouse_char", changed(mouse_char=[0, 4]), "2 values and 7 in 't_ms'"),
        ("phase", changed(phase=["reading"]), "1 values and 7 in 't_ms'"),
        ("mouse_on", changed(mouse_on=["left", *TICKS["mouse_on"][1:]]), "'left'; expected"),
        ("mouse_on", changed(mouse_on=["c", *TICKS["mouse_on"][1:]]), "answer c, which has 0"),
        ("mouse_char", changed(mouse_char=["0", "x", 5, None, 12, 1, 0]), "expected a number"),
    ],
)
def test_bad_ticks_are_refused_by_row_and_field(
    processor: IFLLMProcessor, field: str, ticks: dict[str, Any], says: str
) -> None:
    with pytest.raises(DataError) as caught:
        processor(["why", "why"], [ANSWERS, ANSWERS], [TICKS, {**ticks, "query_id": 77}])
    message = str(caught.value)
    assert says in message
    if "which has 0" not in says:
        assert f"row 1 (query 77), field '{field}'" in message
