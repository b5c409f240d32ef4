from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.reward import RewardJudge
from ifllm_hf.alignment.judge.run import run_judge
from ifllm_hf.alignment.judge.verdict import Comparison
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.settings_file import build
from tests.helpers.alignment.judging import config, smallest
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, make


@pytest.fixture(scope="module")
def reward_model(tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny llama with one output, next to the tokenizer of the tiny language model."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = tmp_path_factory.mktemp("reward") / "model"
    torch.manual_seed(0)
    made = AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(tiny(), num_labels=1), dtype=torch.float32
    )
    made.save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny()).save_pretrained(place)
    return place


def test_a_reward_model_judges_each_answer_by_itself(
    tmp_path: Path, questions: Path, reward_model: Path
) -> None:
    settings = {"kind": "reward", "model": str(reward_model), "batch_size": 4}
    made = config(tmp_path, questions, judge=settings)
    report = run_judge(made, progress=False)
    got = report["candidates"]["both"]
    assert got["n"] == 15 and got["candidate_score"] is not None
    assert got["relative_improvement"] is None and got["position"] is None
    assert report["ratios"] == []
    assert "Rewards have no zero" in (tmp_path / "out" / "report.md").read_text()
    judge = RewardJudge(made.judge)
    pairs = [("Why?", "word"), ("Why 3?", "word " * 30), ("W", "x")]
    together = judge.rewards(pairs)
    assert together == pytest.approx([judge.rewards([pair])[0] for pair in pairs], abs=1e-5)
    said = [(f"Why {i}?", ("word " * (6 + i % 4)).strip()) for i in range(0, 30, 2)]
    expected = sum(judge.rewards([pair])[0] for pair in said) / 15
    assert got["candidate_score"]["estimate"] == pytest.approx(expected, abs=1e-4)


def test_our_own_reward_model_judges_text_alone(tmp_path: Path) -> None:
    model, processor = make()
    model.save_pretrained(tmp_path / "ours")
    processor.save_pretrained(tmp_path / "ours")
    settings = build(JudgeConfig, smallest(kind="reward", model=str(tmp_path / "ours")), "t").judge
    question, (one, two) = QUESTION, ANSWERS
    got = RewardJudge(settings).rewards([(question, one), (question, two)])
    read = processor(question, [one, two], return_tensors="pt")
    assert got == pytest.approx(model(**read).logits[:, 0].tolist(), abs=1e-5)
    assert got[0] != got[1]


def test_a_classifier_is_no_reward_model(tmp_path: Path, tiny: Callable[..., Path]) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = tmp_path / "three"
    AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(tiny(), num_labels=3)
    ).save_pretrained(place)
    AutoTokenizer.from_pretrained(tiny()).save_pretrained(place)
    settings = build(JudgeConfig, smallest(kind="reward", model=str(place)), "t").judge
    with pytest.raises(ConfigError, match="expected one number each"):
        RewardJudge(settings).rewards([("Why?", "So.")])


def test_a_pair_that_is_too_long_is_left_out_and_the_others_are_scored(reward_model: Path) -> None:
    settings = build(JudgeConfig, smallest(kind="reward", model=str(reward_model)), "t").judge
    pairs = [
        Comparison(f"p{i}", "r", "Why?", "word", "word " * n) for i, n in enumerate((3, 3000, 5))
    ]
    got = list(RewardJudge(settings).judge([(pair, "baseline") for pair in pairs]))
    assert [j.verdict is not None for j in got] == [True, False, True]
    assert got[1].refused and "too long" in str(got[1].failed)


def test_a_judge_that_has_learned_from_the_readers_steps_back() -> None:
    from ifllm_hf import pretrained
    from ifllm_hf.reward.pretrained.heads import ALL, Heads, reader_digest

    settings = build(JudgeConfig, smallest(kind="reward", model=str(pretrained())), "t").judge
    judge = RewardJudge(settings)
    heads = Heads.of(pretrained())
    assert heads is not None
    ann = reader_digest("ann")
    known = {h: (heads.seen[h] | {ann} if h != "fold_3" else heads.seen[h]) for h in heads.seen}
    everywhere = {head: seen | {ann} for head, seen in heads.seen.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Heads, "of", lambda model: Heads(known, heads.weights))
        judge.keep_apart_from({"ann", "somebody new"})
        assert judge.identity["head"] == "fold_3"
        scored = judge.rewards([("Why?", "word"), ("Why?", "word " * 30)])
        patch.setattr(Heads, "of", lambda model: Heads(everywhere, heads.weights))
        with pytest.raises(ConfigError, match=r"learned from 1 of 2 readers .*ann"):
            judge.keep_apart_from({"ann", "somebody new"})
    whole = RewardJudge(settings)
    whole.keep_apart_from({"somebody new"})
    assert "head" not in whole.identity and ALL in heads.seen
    assert scored != pytest.approx(whole.rewards([("Why?", "word"), ("Why?", "word " * 30)]))
