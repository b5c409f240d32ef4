from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ifllm_hf.alignment.merge.chat_template import chat_template_of
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.format import render_prompt

ASK = {"role": "user", "content": "Why?\n{{ no }} «é» 'x' \"y\" \\n"}
CHATS = (
    [ASK],
    [ASK, {"role": "assistant", "content": " So. \n"}, ASK],
    [{"role": "system", "content": "Be brief."}, ASK],
)


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize(
    "style",
    [
        PromptFormat(),
        PromptFormat(
            prompt_template="\n\nHuman: {prompt}\n\nAssistant:",
            turn_separator="",
            response_prefix="",
        ),
        PromptFormat(prompt_template="{prompt}\n", response_prefix="\"'\\é"),
    ],
)
def test_a_chat_is_written_as_training_wrote_it(
    tiny: Callable[..., Path], chat: list[dict[str, str]], style: PromptFormat
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny())
    tokenizer.chat_template = chat_template_of(style, tokenizer)
    written = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert written == render_prompt(
        chat, style.prompt_template, style.response_prefix, style.turn_separator
    )


def test_what_begins_every_text_begins_a_chat(tiny: Callable[..., Path]) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny())
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    tokenizer.chat_template = chat_template_of(PromptFormat(), tokenizer)
    ids = tokenizer.apply_chat_template([ASK], return_dict=False)
    assert (
        ids
        == tokenizer(render_prompt([ASK], "Question: {prompt}\n\nAnswer:", " ", "\n\n"))[
            "input_ids"
        ]
    )
