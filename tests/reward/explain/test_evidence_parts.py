from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import DataError
from ifllm_hf.reward.explain.evidence_parts import EvidenceExplanation, explain_evidence
from ifllm_hf.reward.explain.gradients import explain
from ifllm_hf.reward.model.modeling_evidence_ifllm import FLOOR, HALF_LIVES
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, TICKS, make

Parts = tuple[Any, Any]


def filled(head: Any, seed: int) -> None:
    """Give an evidence head random weights, of either sign."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in head.parameters():
        parameter.normal_(std=0.3, generator=generator)
    head.spread.abs_().add_(1)


@pytest.fixture(scope="module")
def parts() -> Parts:
    model, processor = make(seed=1, evidence_head=True)
    with torch.no_grad():
        filled(model.model.evidence, 0)
    return model, processor


@pytest.fixture(scope="module")
def bare() -> Parts:
    """A head alone, of which the mouse's last tenth counts, and nothing else."""
    model, processor = make(evidence_head=True)
    with torch.no_grad():
        model.score.weight.zero_()
        model.model.evidence.late_weight[0, 0, 0] = 1.0
    return model, processor


def random_ticks(seed: int, ticks: int = 30) -> dict[str, list[Any]]:
    rng = np.random.default_rng(seed)
    out: dict[str, list[Any]] = {
        "t_ms": np.cumsum(rng.exponential(400, ticks)).tolist(),
        "page_load": [0] * ticks,
        "phase": ["reading"] * ticks,
        "turn": 1 + seed,
    }
    for channel in ("mouse", "gaze")[: 1 + seed % 2]:
        on = rng.choice(["a", "b", "none"], ticks)
        seen = rng.random(ticks) < 0.7
        out[f"{channel}_on"] = [str(s) if k else None for s, k in zip(on, seen, strict=True)]
        char = [0 if k and s != "none" else None for s, k in zip(on, seen, strict=True)]
        out[f"{channel}_char"] = char
    return out


def earlier(seed: int) -> list[dict[str, Any]]:
    return [{**random_ticks(seed), "response_a": "one two", "response_b": "two"}]


def check_sum(one: EvidenceExplanation, lead: float) -> None:
    assert one.lead == pytest.approx(lead, abs=1e-6)
    total = one.length + one.mouse + one.gaze + one.habit + one.rest
    assert total == pytest.approx(one.lead, abs=1e-5)
    for stretches in (one.seconds, one.tenths):
        assert stretches.sum(axis=(0, 2)) == pytest.approx([one.mouse, one.gaze], abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_parts_add_up_to_the_lead(parts: Parts, seed: int) -> None:
    model, processor = parts
    ticks, history = random_ticks(seed), earlier(9 + seed) if seed > 2 else None
    one = explain_evidence(model, processor, QUESTION, ANSWERS, ticks, history=history)
    with torch.no_grad():
        batch = processor(QUESTION, ANSWERS, ticks, return_tensors="pt", history=history)
        a, b = model(**batch).logits[:, 0].tolist()
    check_sum(one, b - a)
    moved = (one.length, one.mouse, one.rest, *([one.gaze] if seed % 2 else []))
    assert all(abs(part) > 1e-4 for part in moved)
    assert (abs(one.habit) > 1e-4) == (history is not None)
    assert len(one.seconds) == np.ceil(one.reading_ms / 1000)


def test_swapped_answers_turn_every_part(parts: Parts) -> None:
    model, processor = parts
    swapped = copy.deepcopy(TICKS)
    for name in ("mouse_on", "gaze_on"):
        swapped[name] = [{"a": "b", "b": "a"}.get(on, on) for on in TICKS[name]]
    for name in ("mouse_char", "gaze_char"):
        swapped[name] = [0 if char is not None else None for char in TICKS[name]]
    one = explain_evidence(model, processor, QUESTION, ANSWERS, TICKS)
    other = explain_evidence(model, processor, QUESTION, ANSWERS[::-1], swapped)
    for name in ("length", "mouse", "gaze"):
        assert getattr(other, name) == pytest.approx(-getattr(one, name), abs=1e-6)
    assert other.seconds == pytest.approx(-one.seconds[:, :, ::-1], abs=1e-6)
    assert other.on_ms == pytest.approx(one.on_ms[:, :, ::-1])


def test_a_second_does_what_the_integral_over_it_says(bare: Parts) -> None:
    """On b from 1.5 s to 4 s of 4: what each second adds is known in closed form."""
    model, processor = bare
    ticks = {
        "t_ms": [0.0, 700.0, 1500.0, 2400.0, 3200.0, 4000.0],
        "page_load": [0] * 6,
        "phase": ["reading"] * 6,
        "mouse_on": ["none", "none", "b", "b", "b", "b"],
        "mouse_char": [None, None, 0, 0, 0, 0],
    }
    one = explain_evidence(model, processor, QUESTION, ANSWERS, ticks)
    h = HALF_LIVES[0]

    def integral(begin: float, end: float) -> float:
        return h / np.log(2) * float(2 ** -((1 - end) / h) - 2 ** -((1 - begin) / h))

    share = integral(1.5 / 4, 1)
    lead = np.log(share + FLOOR * h) - np.log(FLOOR * h)
    of_second = [0, integral(1.5 / 4, 2 / 4), integral(2 / 4, 3 / 4), integral(3 / 4, 1)]
    assert one.reading_ms == 4000
    assert [one.lead, one.mouse] == pytest.approx([lead, lead], abs=1e-5)
    assert one.seconds[:, 0, 1] == pytest.approx(lead * np.array(of_second) / share, abs=1e-5)
    assert not one.seconds[:, :, 0].any() and not one.seconds[:, 1].any()
    assert one.on_ms[:, 0, 1] == pytest.approx([0, 0, 0, 100, *[400] * 6], abs=1e-2)


def test_it_is_what_integrated_gradients_find(bare: Parts) -> None:
    """Both take the straight line from a reading that rested on nothing."""
    model, processor = bare
    with torch.no_grad():
        model.model.evidence.late_weight[:, :, 0] = 0.3
    try:
        one = explain_evidence(model, processor, QUESTION, ANSWERS, TICKS)
        a, b = explain(model, processor, QUESTION, ANSWERS, TICKS)
    finally:
        with torch.no_grad():
            model.model.evidence.late_weight.zero_()[0, 0, 0] = 1.0
    for part, of_channel in ((one.mouse, "mouse"), (one.gaze, "gaze")):
        columns = [name.startswith(of_channel) for name in a.channels]
        found = b.moments[:, columns].sum() - a.moments[:, columns].sum()
        assert abs(part) > 0.01 and found == pytest.approx(part, abs=1e-5)


def test_without_ticks_there_is_length_alone(parts: Parts) -> None:
    model, processor = parts
    one = explain_evidence(model, processor, QUESTION, ANSWERS)
    assert one.mouse == one.gaze == one.habit == 0 and np.isnan(one.reading_ms)
    assert one.length + one.rest == pytest.approx(one.lead, abs=1e-5)
    assert one.chars == (len(ANSWERS[0]), len(ANSWERS[1])) and len(one.seconds) == 0


def test_what_cannot_be_split_is_refused(parts: Parts) -> None:
    model, processor = parts
    plain, _ = make()
    with pytest.raises(DataError, match="no evidence head"):
        explain_evidence(plain, processor, QUESTION, ANSWERS, TICKS)
    for answers in (ANSWERS[0], ANSWERS[:1]):
        with pytest.raises(DataError, match="expected two texts"):
            explain_evidence(model, processor, QUESTION, answers, TICKS)


def test_the_parts_add_up_on_real_turns(parts: Parts, prepared_release: Path) -> None:
    import pyarrow.parquet as pq

    model, processor = parts
    file = next((prepared_release / "pairwise").glob("*.parquet"))
    rows = next(pq.ParquetFile(file).iter_batches(batch_size=6)).to_pylist()
    for row in rows:
        answers = [row["response_a"], row["response_b"]]
        one = explain_evidence(model, processor, row["prompt"], answers, row, history=rows[:3])
        check_sum(one, one.lead)
        assert one.mouse and one.gaze and one.habit and one.length
