"""Models are asked with the tokens that training put before their answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ifllm_hf.alignment.generate.backend import JudgedPrompt, token_ids
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.format import format_row

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
THINKS_ALONE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
ROW = {"prompt": "How do tides work?", "chosen": "First, the moon.", "rejected": "It depends."}


@pytest.fixture
def tokenizer() -> Any:
    from ifllm_hf.training.tiny_models import made_up_pairs, train_tiny_tokenizer

    return train_tiny_tokenizer(
        [t for row in made_up_pairs() for t in (row["prompt"], row["chosen"])]
    )


def trained_on(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """Return the prompt's tokens as TRL makes them."""
    from datasets import Dataset
    from trl import DPOTrainer

    settings = SimpleNamespace(dataset_num_proc=None, max_length=None, truncation_mode="keep_start")
    made = DPOTrainer._prepare_dataset(
        SimpleNamespace(_tokenizer=tokenizer),
        Dataset.from_list([row]),
        tokenizer,
        settings,
        "train",
    )
    ids: list[int] = made[0]["prompt_ids"]
    return ids


@pytest.mark.parametrize("style", [
    PromptFormat(),
    PromptFormat(prompt_template="Q: {prompt}\nA: ", response_prefix=""),  # "A: " + "It" merges
    PromptFormat(prompt_format="chat"),
], ids=["template", "last space", "chat"])  # fmt: skip
@pytest.mark.parametrize("added", ["$A", "$A <|endoftext|>", "<|im_start|> $A <|im_end|>"])
@pytest.mark.parametrize("thinks", [False, True])
def test_a_judged_model_is_asked_as_it_was_trained(
    tokenizer: Any, style: PromptFormat, added: str, thinks: bool
) -> None:
    from tokenizers.processors import TemplateProcessing

    special = [(t, tokenizer.convert_tokens_to_ids(t)) for t in added.split() if t != "$A"]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=added, special_tokens=special
    )
    if thinks:
        tokenizer.chat_template = THINKS_ALONE
    row = format_row(ROW, style, 1.0)
    asked = token_ids(tokenizer, JudgedPrompt("p", "u", ROW["prompt"], row["prompt"]), style)
    assert asked == trained_on(tokenizer, row)
    assert tokenizer.eos_token_id not in asked
