from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import ifllm_hf
from ifllm_hf.errors import DataError
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, TICKS, make


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return make()


@pytest.fixture(scope="module")
def scorer(parts: tuple[Any, Any]) -> Any:
    from transformers import pipeline

    model, processor = parts
    return pipeline("implicit-reward", model=model, processor=processor, device="cpu")


def test_it_scores_as_the_model_does(scorer: Any, parts: tuple[Any, Any]) -> None:
    model, processor = parts
    with torch.no_grad():
        batch = processor(QUESTION, ANSWERS, TICKS, return_tensors="pt")
        scores = model(**batch).rewards[:, 0].tolist()
        text = model(**processor(QUESTION, ANSWERS, return_tensors="pt")).rewards[:, 0].tolist()
    a, b = scorer(QUESTION, ANSWERS, TICKS)
    assert [a["score"], b["score"]] == pytest.approx(scores, abs=1e-5)
    assert [a["score"] - a["behavior"], b["score"] - b["behavior"]] == pytest.approx(text, abs=1e-5)
    assert abs(a["behavior"]) > 1e-3
    assert a["preference"] == pytest.approx(1 / (1 + math.exp(b["score"] - a["score"])))
    assert a["preference"] + b["preference"] == pytest.approx(1)


def test_exchanging_the_answers_exchanges_the_scores(scorer: Any) -> None:
    other = {"a": "b", "b": "a"}
    swapped = {
        name: [other.get(v, v) for v in values] if name.endswith("_on") else values
        for name, values in TICKS.items()
    }
    forward, backward = scorer(QUESTION, ANSWERS, TICKS), scorer(QUESTION, ANSWERS[::-1], swapped)
    for one, same in zip(forward, backward[::-1], strict=True):
        assert one == pytest.approx(same, abs=1e-5)


def test_text_alone_has_no_part_of_behaviour(scorer: Any) -> None:
    assert [row["behavior"] for row in scorer(QUESTION, ANSWERS)] == [0.0, 0.0]


def test_one_answer_has_a_score_and_no_preference(scorer: Any) -> None:
    (only,) = scorer(QUESTION, ANSWERS[0])
    assert only["preference"] is None and math.isfinite(only["score"])


def test_three_answers_share_the_preference(scorer: Any) -> None:
    ticks = {**TICKS, "gaze_on": ["c"] * 40, "gaze_char": [0] * 40}
    rows = scorer(QUESTION, [*ANSWERS, "so"], ticks)
    assert sum(row["preference"] for row in rows) == pytest.approx(1)
    assert rows[2]["behavior"] != 0


def test_many_questions_at_once(scorer: Any) -> None:
    asked = {"question": QUESTION, "answers": ANSWERS, "ticks": TICKS}
    assert scorer([asked, {**asked, "ticks": None}]) == [
        scorer(asked),
        scorer(QUESTION, ANSWERS),
    ]


# Questions with two answers, with one, with three, as a text; with ticks and without.
ASKED: list[dict[str, Any]] = [
    {"question": QUESTION, "answers": ANSWERS, "ticks": TICKS},
    {"question": QUESTION, "answers": ["so it goes"], "ticks": None},
    {"question": "why", "answers": [*ANSWERS, "so"], "ticks": TICKS},
    {"answers": "first of all"},
]


def _same(found: Any, expected: Any) -> None:
    found = list(found)
    assert [len(rows) for rows in found] == [len(rows) for rows in expected]
    for rows, others in zip(found, expected, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert row == pytest.approx(other, abs=1e-5)


def test_results_are_those_of_one_question_at_a_time(scorer: Any, parts: tuple[Any, Any]) -> None:
    from datasets import Dataset
    from transformers import pipeline
    from transformers.pipelines.pt_utils import KeyDataset

    expected = [scorer(asked) for asked in ASKED]
    model, processor = parts
    for size in (1, 2, 3, 9):
        kept = pipeline(
            "implicit-reward", model=model, processor=processor, device="cpu", batch_size=size
        )
        for found in (
            scorer(ASKED, batch_size=size),
            scorer(tuple(ASKED), batch_size=size),
            kept(ASKED),
            kept(asked for asked in ASKED),
            kept(KeyDataset([{"asked": asked} for asked in ASKED], "asked")),
        ):
            _same(found, expected)
        for asked, rows in zip(ASKED, expected, strict=True):
            _same([kept(asked)], [rows])
    table = [{"question": "why", "answers": list(ANSWERS)}, {"question": "so", "answers": ["it"]}]
    _same(kept(Dataset.from_list(table)), [scorer(asked) for asked in table])
    for nothing in ([], (), KeyDataset([], "asked"), (asked for asked in [])):
        assert list(scorer(nothing, batch_size=2)) == []


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda scorer: scorer(QUESTION, ANSWERS, include_contaminated=True), "contaminated"),
        (lambda scorer: scorer({"question": "why", "answers": "so", "tick": TICKS}), "tick"),
        (lambda scorer: scorer({"question": "why", "answers": "so"}, ticks=TICKS), "question"),
        (lambda scorer: scorer([QUESTION] * 2, [ANSWERS] * 2), "question"),
        (lambda scorer: scorer(QUESTION, [ANSWERS] * 2), "answers"),
        (lambda scorer: scorer(QUESTION, {"a": "so"}), "answers"),
        (lambda scorer: scorer(QUESTION, []), "answers"),
        (lambda scorer: scorer(QUESTION), "str"),
        (lambda scorer: scorer([*ASKED, {"answers": [None]}], batch_size=8), "nothing to read"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(scorer: Any, call: Any, named: str) -> None:
    with pytest.raises((DataError, ValueError), match=named):
        call(scorer)


def test_only_reading_counts_unless_asked_by_name(scorer: Any) -> None:
    moved = {**TICKS, "mouse_on": [*TICKS["mouse_on"][:36], *["a"] * 4]}
    moved["mouse_char"] = [*TICKS["mouse_char"][:36], 0, 1, 2, 3]
    assert scorer(QUESTION, ANSWERS, moved) == scorer(QUESTION, ANSWERS, TICKS)
    assert scorer(QUESTION, ANSWERS, moved, include_contaminated_ticks=True) != scorer(
        QUESTION, ANSWERS, TICKS
    )


def test_behaviour_alone_is_scored() -> None:
    from transformers import pipeline

    model, processor = make(use_text=False, use_token_behavior=False)
    scorer = pipeline("implicit-reward", model=model, processor=processor, device="cpu")
    rows = scorer(QUESTION, ANSWERS, TICKS)
    other_words = scorer(QUESTION, ["x" * len(text) for text in ANSWERS], TICKS)
    for one, same in zip(rows, other_words, strict=True):
        assert one == pytest.approx(same)
    assert all(row["behavior"] != 0 for row in rows)


def test_a_column_that_nobody_declared_reaches_the_model_by_its_name() -> None:
    from transformers import pipeline

    model, processor = make(channels=[*CHANNELS, "heart_rate"])
    scorer = pipeline("implicit-reward", model=model, processor=processor, device="cpu")
    without, calm, excited = (
        scorer(QUESTION, ANSWERS, {**TICKS, **column})
        for column in ({}, {"heart_rate": [0.5] * 40}, {"heart_rate": [2.5] * 40})
    )
    scores = [[row["score"] for row in rows] for rows in (without, calm, excited)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        for side in range(2):
            assert abs(scores[one][side] - scores[other][side]) > 1e-4
    # A model that was not told its name does not see it.
    model, processor = make()
    deaf = pipeline("implicit-reward", model=model, processor=processor, device="cpu")
    heard = {**TICKS, "heart_rate": [2.5] * 40}
    assert deaf(QUESTION, ANSWERS, heard) == deaf(QUESTION, ANSWERS, TICKS)


def test_half_precision_scores_alike(parts: tuple[Any, Any], scorer: Any, tmp_path: Path) -> None:
    from transformers import pipeline

    for part in parts:
        part.save_pretrained(tmp_path)
    half = pipeline("implicit-reward", model=str(tmp_path), dtype=torch.bfloat16, device="cpu")
    for one, same in zip(
        scorer(QUESTION, ANSWERS, TICKS), half(QUESTION, ANSWERS, TICKS), strict=True
    ):
        assert one["score"] == pytest.approx(same["score"], abs=0.3)
        assert one["behavior"] == pytest.approx(same["behavior"], abs=0.3)


def test_a_processor_of_another_model_is_refused(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    other = ifllm_hf.IFLLMProcessor(
        processor.tokenizer, ifllm_hf.IFLLMFeatureExtractor(channels=["until_end_ms"])
    )
    with pytest.raises(DataError, match="'channels': the processor writes"):
        ifllm_hf.ImplicitRewardPipeline(model=model, processor=other)


def test_a_saved_pipeline_loads_by_its_folder(scorer: Any, tmp_path: Path) -> None:
    from transformers import pipeline

    scorer.save_pretrained(tmp_path)
    # The code in the folder is for those without the package: here nobody is asked to trust it.
    again = pipeline("implicit-reward", model=str(tmp_path), device="cpu")
    assert type(again) is ifllm_hf.ImplicitRewardPipeline
    for one, same in zip(
        scorer(QUESTION, ANSWERS, TICKS), again(QUESTION, ANSWERS, TICKS), strict=True
    ):
        assert one == pytest.approx(same, abs=1e-6)
