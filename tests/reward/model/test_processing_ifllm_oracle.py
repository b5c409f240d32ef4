"""The vectorised processor against a loop over ticks that follows the definitions word by word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS
from ifllm_hf.reward.model.processing_ifllm import IFLLMProcessor
from tests.helpers.reward.tokenizers import make_tokenizer

ANSWERS = ("first light, then 🌊 sea and sky again", "so it goes")
PROCESSOR = IFLLMProcessor(make_tokenizer("bytes"), max_length=24)


@st.composite
def turns(draw: st.DrawFn) -> dict[str, list[Any]]:
    """Ticks of a turn: reloads, pauses, channels that share ticks or not, some not in reading."""
    ticks: dict[str, list[Any]] = {
        name: []
        for name in (
            *("t_ms", "page_load", "phase", "gaze_on", "gaze_char", "mouse_on", "mouse_char"),
            "mouse_x_px",
        )
    }
    time, load = 0.0, 0
    for _ in range(draw(st.integers(0, 14))):
        if draw(st.integers(0, 9)) == 0:
            load, time = load + 1, 0.0
        time += draw(st.sampled_from([0.0, 50.0, 83.4, 400.0, 1000.0, 1500.0]))
        ticks["t_ms"].append(time)
        ticks["page_load"].append(load)
        ticks["phase"].append(draw(st.sampled_from(["reading"] * 6 + ["rating"])))
        for channel in ("gaze", "mouse"):
            on = draw(st.sampled_from([None, "none", "a", "a", "b"]))
            size = len(ANSWERS[on == "b"])
            known = on in ("a", "b") and draw(st.integers(0, 9)) > 0
            ticks[f"{channel}_on"].append(on)
            ticks[f"{channel}_char"].append(draw(st.integers(0, size - 1)) if known else None)
        ticks["mouse_x_px"].append(draw(st.sampled_from([None, 3.0, 4.0])))
    return ticks


def read(turn: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the ticks of reading with the time since the first, reloads closed."""
    rows = [dict(zip(turn, values, strict=True)) for values in zip(*turn.values(), strict=True)]
    rows = [row for row in rows if row["phase"] == "reading"]
    for i, row in enumerate(rows):
        before = rows[i - 1] if i else None
        same = before is not None and before["page_load"] == row["page_load"]
        row["time"] = before["time"] if before else 0.0
        row["time"] += row["t_ms"] - before["t_ms"] if same and before else 0.0
    return rows


def channel_of(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Return the ticks in which a channel was sampled, with what each stands for."""
    mine = [
        {**row, "on": row[f"{name}_on"], "char": row[f"{name}_char"]}
        for row in rows
        if row[f"{name}_on"] is not None
    ]
    for row, after in zip(mine, [*mine[1:], None], strict=False):
        same = after is not None and after["page_load"] == row["page_load"]
        row["dwell"] = min(after["t_ms"] - row["t_ms"], 1000.0) if same and after else 0.0
        if row["on"] != "none" and row["char"] is None:
            row["on"] = "none"
        if name == "mouse" and row["on"] == "none" and row["mouse_x_px"] is None:
            row["on"] = "unknown"
    return mine


def token_oracle(turn: dict[str, list[Any]], name: str, side: str, place: list[int]) -> Any:
    """Return, by measure, the value of every token visited, and whether the channel was there."""
    mine = channel_of(read(turn), name)
    out: dict[str, dict[int, float]] = {
        m: {} for m in ("dwell_ms", "visits", "first_ms", "last_ms", "regressions")
    }
    before: dict[str, Any] | None = None
    for row in (row for row in mine if row["on"] in ("a", "b")):
        together = (
            before is not None
            and before["on"] == row["on"]
            and before["page_load"] == row["page_load"]
            and round(row["t_ms"] - before["t_ms"], 3) <= 1000.0  # whole microseconds
        )
        if row["on"] == side:
            token = place[row["char"]]
            stays = together and before is not None and place[before["char"]] == token
            back = together and before is not None and row["char"] - before["char"] < -10
            if token >= 0:
                for measure, value in (
                    ("dwell_ms", row["dwell"]),
                    ("visits", 0 if stays else 1),
                    ("regressions", 1 if back else 0),
                ):
                    out[measure][token] = out[measure].get(token, 0) + value
                out["first_ms"].setdefault(token, row["time"])
                out["last_ms"][token] = row["time"]
        before = row
    return out, any(row["on"] != "unknown" for row in mine)


def log(measure: str, value: float) -> float:
    return float(np.log1p(value / 1000 if measure.endswith("_ms") else value))


@given(batch=st.lists(turns(), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_batch_says_what_a_loop_over_ticks_says(batch: list[dict[str, list[Any]]]) -> None:
    questions = ["why", "why is the sky blue"] * 2
    encoded = PROCESSOR(questions[: len(batch)], [list(ANSWERS)] * len(batch), batch)
    for number, turn in enumerate(batch):
        for s, side in enumerate("ab"):
            row = 2 * number + s
            tokens = PROCESSOR._tokenize([questions[number]], [[ANSWERS[s]]])
            size = len(ANSWERS[s])
            place = tokens.locate(np.zeros(size, dtype=int), np.arange(size)).tolist()
            first, count = int(tokens.first[0]), int(tokens.count[0])
            values = encoded["token_behavior"][row]
            seen = encoded["token_behavior_mask"][row]
            for channel in ("gaze", "mouse"):
                wanted, there = token_oracle(turn, channel, side, place)
                for measure, of_token in wanted.items():
                    at = TOKEN_CHANNELS.index(f"{channel}_{measure}")
                    timed = measure in ("first_ms", "last_ms")
                    for token in range(len(values)):
                        inside = first <= token < first + count and there
                        observed = inside and (not timed or token in of_token)
                        assert seen[token, at] == observed
                        value = log(measure, of_token.get(token, 0.0)) if observed else 0.0
                        assert values[token, at] == pytest.approx(value, abs=1e-5)
            check_trajectory(encoded, row, turn, side)


def check_trajectory(encoded: Any, row: int, turn: dict[str, list[Any]], side: str) -> None:
    rows = read(turn)
    values, seen = encoded["trajectory"][row], encoded["trajectory_observed"][row]
    times = encoded["trajectory_time_ms"][row]
    assert len(values) == len(rows)
    for i, tick in enumerate(rows):
        assert times[i] == pytest.approx(tick["time"], abs=1e-2)
        expected: dict[str, float | None] = {
            "until_end_ms": log("_ms", rows[-1]["time"] - tick["time"])
        }
        for channel in ("gaze", "mouse"):
            on, char = tick[f"{channel}_on"], tick[f"{channel}_char"]
            if on in ("a", "b") and char is None:
                on = "none"
            if on == "none" and channel == "mouse" and tick["mouse_x_px"] is None:
                on = None
            expected |= {
                f"{channel}_on_this": None if on is None else float(on == side),
                f"{channel}_on_other": None if on is None else float(on not in (side, "none")),
                f"{channel}_on_neither": None if on is None else float(on == "none"),
                f"{channel}_char_share": char / len(ANSWERS[side == "b"]) if on == side else None,
            }
        for at, name in enumerate(CHANNELS):
            assert seen[i, at] == (expected[name] is not None), name
            assert values[i, at] == pytest.approx(expected[name] or 0.0, abs=1e-5), name


@given(batch=st.lists(turns(), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_a_row_is_what_it_is_alone(batch: list[dict[str, list[Any]]]) -> None:
    together = PROCESSOR(["why"] * len(batch), [list(ANSWERS)] * len(batch), batch)
    for number, turn in enumerate(batch):
        alone = PROCESSOR("why", list(ANSWERS), turn)
        for name, values in alone.items():
            for side in range(2):
                np.testing.assert_array_equal(values[side], together[name][2 * number + side])
