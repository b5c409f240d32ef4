from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ifllm_hf.errors import DataError
from ifllm_hf.reward.explain.gradients import explain
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, TOKEN_CHANNELS, IFLLMConfig
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, TICKS, make


@pytest.fixture(scope="module", params=["right", "left", "evidence head"])
def parts(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    with_head = request.param == "evidence head"
    model, processor = make(seed=1, evidence_head=with_head)
    if with_head:
        with torch.no_grad():
            for parameter in model.model.evidence.parameters():
                parameter.fill_(0.05)
    else:
        processor.tokenizer.padding_side = request.param
    return model, processor


def test_the_shares_add_up_to_the_difference(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    for answer, one in zip(
        ANSWERS, explain(model, processor, QUESTION, ANSWERS, TICKS), strict=True
    ):
        moved = one.score - one.baseline_score
        assert abs(moved) > 1e-3
        assert one.tokens.sum() + one.moments.sum() == pytest.approx(moved, abs=1e-5)
        assert one.gap == pytest.approx(0, abs=1e-5)
        assert np.abs(one.tokens).sum() > 0 and np.abs(one.moments).sum() > 0
        assert one.tokens.shape == (len(one.token_spans), len(TOKEN_CHANNELS))
        assert one.moments.shape == (len(one.time_ms), len(CHANNELS)) == (36, len(CHANNELS))
        assert one.token_spans[0, 0] == 0 and one.token_spans[-1, 1] == len(answer)
        assert one.characters(len(answer)).sum() == pytest.approx(one.tokens.sum())


def test_scores_are_those_of_the_model(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    with torch.no_grad():
        batch = processor(QUESTION, ANSWERS, TICKS, return_tensors="pt")
        scores = model(**batch).rewards[:, 0].tolist()
        text = model(**processor(QUESTION, ANSWERS, return_tensors="pt")).rewards[:, 0].tolist()
    found = explain(model, processor, QUESTION, ANSWERS, TICKS, steps=2)
    assert [one.score for one in found] == pytest.approx(scores, abs=1e-5)
    assert [one.text_score for one in found] == pytest.approx(text, abs=1e-5)


def test_what_was_not_observed_moved_nothing(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    mouse = {name: v for name, v in TICKS.items() if not name.startswith("gaze")}
    for one in explain(model, processor, QUESTION, ANSWERS, mouse, steps=4):
        for names, shares in ((one.token_channels, one.tokens), (one.channels, one.moments)):
            gaze = [name.startswith("gaze") for name in names]
            assert not shares[:, gaze].any()


def test_a_score_that_is_linear_in_one_value_is_explained_by_it() -> None:
    """The truth is known here: the score is three times the dwell of the gaze on all tokens."""
    _, processor = make()

    class Linear(torch.nn.Module):
        config, device = IFLLMConfig(), torch.device("cpu")

        def forward(self, token_behavior: Any, token_behavior_mask: Any, **_: Any) -> Any:
            logits = 3 * (token_behavior[..., 0] * token_behavior_mask[..., 0]).sum(1, keepdim=True)
            return type("Output", (), {"logits": logits})

    one, _ = explain(Linear(), processor, QUESTION, ANSWERS, TICKS, steps=3)
    raw = processor(QUESTION, ANSWERS, TICKS)["token_behavior"][0]
    first, spans = processor.answer_spans(QUESTION, ANSWERS[0])
    dwell = raw[first : first + len(spans), 0]
    assert one.tokens[:, 0] == pytest.approx(3 * dwell, abs=1e-6)
    assert not one.tokens[:, 1:].any() and not one.moments.any()
    assert one.baseline_score == 0


def test_the_model_is_left_as_it_was(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    model.train()
    try:
        explain(model, processor, QUESTION, ANSWERS, TICKS, steps=1)
        assert model.training
        assert all(p.grad is None for p in model.parameters())
    finally:
        model.eval()


def test_a_model_with_other_channels_is_refused(parts: tuple[Any, Any]) -> None:
    _, processor = parts
    model, _ = make(channels=CHANNELS[::-1])
    with pytest.raises(DataError, match="'channels'"):
        explain(model, processor, QUESTION, ANSWERS, TICKS)
