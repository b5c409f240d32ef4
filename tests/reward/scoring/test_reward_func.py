"""Our reward as TRL's trainers call it: the pipeline's scores, and one step of each trainer."""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import ifllm_hf
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling
from tests.helpers.reward.model_with_processor import ANSWERS, QUESTION, make
from tests.helpers.reward.tokenizers import KINDS

PAGE = Path(__file__).parents[3] / "docs" / "rewards-in-trl.md"
RECIPES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
QUESTIONS = [QUESTION, "why", QUESTION, "is it so", "the sea rises"]
TEXTS = [ANSWERS[0], ANSWERS[1] * 3, "light", "rain 🌊", "so it goes again and again " * 5]


def saved(folder: Path, **settings: Any) -> Path:
    """Write a tiny reward model and its processor."""
    model, processor = make(**settings)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def reads_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("made") / "reads-text", evidence_head=True)


def scores(folder: Path | str, questions: list[Any], answers: list[str]) -> list[float]:
    """Return what the pipeline says of each answer by itself."""
    from transformers import pipeline

    scorer = pipeline("implicit-reward", model=str(folder), device="cpu")
    return [scorer(q, [a])[0]["score"] for q, a in zip(questions, answers, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [2, 16])
def test_rewards_are_the_scores_of_the_pipeline(tmp_path: Path, kind: str, batch_size: int) -> None:
    folder = saved(tmp_path / "reward", kind=kind, evidence_head=True)
    reward = ifllm_hf.reward_func(folder, batch_size=batch_size)
    found = reward(prompts=QUESTIONS, completions=TEXTS, completion_ids=[[1]] * 5, column=[0] * 5)
    assert found == pytest.approx(scores(folder, QUESTIONS, TEXTS), abs=1e-5)
    assert max(found) - min(found) > 1e-3


def test_the_model_that_is_shipped_rewards_length_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        reward = ifllm_hf.reward_func()
    assert "reads no text" in caplog.text and reward.__name__ == "late-reading"
    found = reward(prompts=QUESTIONS, completions=TEXTS)
    place = ifllm_hf.pretrained("late-reading")
    assert found == pytest.approx(scores(place, QUESTIONS, TEXTS), abs=1e-5)
    again = ifllm_hf.reward_func("late-reading")(QUESTIONS, TEXTS)
    assert again == pytest.approx(found, abs=1e-5)


def test_a_loaded_model_stays_where_it_is_and_takes_no_gradient(reads_text: Path) -> None:
    model = IFLLMForRewardModeling.from_pretrained(reads_text).train()
    reward = ifllm_hf.reward_func(model, name="mine")
    assert reward.__name__ == "mine" and reward.model is model and not model.training
    found = reward(prompts=QUESTIONS, completions=TEXTS)
    assert found == pytest.approx(scores(reads_text, QUESTIONS, TEXTS), abs=1e-5)
    assert all(parameter.grad is None for parameter in model.parameters())
    again = pickle.loads(pickle.dumps(reward))
    assert again.__name__ == "mine"
    assert again(QUESTIONS, TEXTS) == pytest.approx(found, abs=1e-5)

    bare, processor = make()
    assert ifllm_hf.reward_func(bare, processor=processor)(["why"], ["so"])[0] is not None


def test_conversations_are_read_by_their_last_turns(reads_text: Path) -> None:
    reward = ifllm_hf.reward_func(reads_text)
    past = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "so"},
            {"role": "assistant", "content": "it goes"}]  # fmt: skip
    asked = [{"role": "user", "content": QUESTION}]
    parts = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    answer = [{"role": "assistant", "content": ANSWERS[0]}]
    call = [{"role": "assistant", "content": None, "tool_calls": [{"name": "look"}]}]
    tool = [{"role": "tool", "content": "blue"}]
    (plain,) = reward([QUESTION], [ANSWERS[0]])
    found = reward(
        prompts=[asked, [*past, *asked], parts, asked, asked, asked],
        completions=[answer, answer, answer, [*call, *tool, *answer], call, [*call, *tool]],
    )
    assert found == [pytest.approx(plain, abs=1e-5)] * 4 + [None, None]


def test_an_empty_answer_is_no_better_than_a_short_one() -> None:
    empty, short = ifllm_hf.reward_func()([QUESTION] * 2, ["", "no"])
    assert empty is not None and short is not None and empty < short


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        ([QUESTION], [], "1 prompts for 0 completions"),
        ([[{"role": "assistant", "content": "so"}]], ["a"], "prompt 0: ends with .*'assistant'"),
        ([[]], ["a"], "prompt 0: ends with a turn of None"),
        ([["why"]], ["a"], "prompt 0: a str where a message"),
        (["a", "b"], ["a", [{"role": "assistant", "content": [{"type": "image"}]}]],
         "completion 1: its content has a part that is no text"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(
    reads_text: Path, prompts: Any, completions: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        ifllm_hf.reward_func(reads_text)(prompts, completions)


def test_a_reward_that_is_no_number_stops_training(reads_text: Path) -> None:
    reward = ifllm_hf.reward_func(reads_text)
    with torch.no_grad():
        reward.model.score.weight.fill_(torch.nan)
    with pytest.raises(DataError, match="the reward is nan"):
        reward(["why"], ["so"])


def test_a_model_that_cannot_reward_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        ifllm_hf.reward_func(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="batch_size is 0"):
        ifllm_hf.reward_func(batch_size=0)
    with pytest.raises(ConfigError, match="give its processor"):
        ifllm_hf.reward_func(make()[0])
    behaviour, processor = make(use_text=False, use_token_behavior=False)
    with pytest.raises(ConfigError, match="reads behaviour alone"):
        ifllm_hf.reward_func(behaviour, processor=processor)


# TRL

SMALL = {
    "GRPO": {"num_generations": 2, "max_completion_length": 6},
    "RLOO": {"num_generations": 2, "max_completion_length": 6},
    "OnlineDPO": {"max_new_tokens": 6},
}


@pytest.mark.filterwarnings("ignore")  # of three trainers, two of them experimental
@pytest.mark.parametrize("number", range(3))
def test_each_recipe_of_the_page_takes_a_step(
    number: int, reads_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    from ifllm_hf.training.tiny_models import build_tiny_model

    policy = build_tiny_model("llama", tmp_path / "policy", [QUESTION, *ANSWERS])
    rows = {"prompt": QUESTIONS[:4], "confidence": [0.5] * 4}
    monkeypatch.setattr(
        datasets, "load_dataset", lambda *args, **kwargs: datasets.Dataset.from_dict(rows)
    )
    seen: list[tuple[Any, Any, Any]] = []
    score = ifllm_hf.reward_func(reads_text)

    class Noted(type(score)):  # type: ignore[misc]
        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> Any:
            found = super().__call__(prompts, completions, **columns)
            seen.append((list(prompts), list(completions), found))
            return found

    monkeypatch.setattr("ifllm_hf.reward.scoring.reward_func.AnswerReward", Noted)
    kind = next(name for name in SMALL if f"{name}Trainer" in RECIPES[number])
    small = {
        **SMALL[kind], "use_cpu": True, "bf16": False, "report_to": "none", "max_steps": 1,
        "per_device_train_batch_size": 4, "save_strategy": "no", "disable_tqdm": True,
        "gradient_checkpointing": False, "dataloader_pin_memory": False, "logging_steps": 1,
        "learning_rate": 0.1,
    }  # fmt: skip
    text = RECIPES[number].replace("Qwen/Qwen3-0.6B", str(policy))
    text = text.replace("outputs/reward", str(reads_text))
    text, configs = re.subn(r'Config\("outputs/', f'Config(**small, output_dir="{tmp_path}/', text)
    assert configs == 1
    space: dict[str, Any] = {"small": small}
    exec(compile(text, str(PAGE), "exec"), space)
    trainer = space["trainer"]
    assert trainer.state.global_step == 1
    ((prompts, completions, found),) = seen
    assert set(prompts) <= set(QUESTIONS) and len(found) == len(completions)
    assert found == pytest.approx(
        scores(reads_text, prompts, [c or " " for c in completions]), abs=1e-5
    )
    if kind != "OnlineDPO":
        (log,) = [e for e in trainer.state.log_history if "reward" in e]
        assert log["rewards/reads-text/mean"] == pytest.approx(sum(found) / len(found), abs=1e-4)
