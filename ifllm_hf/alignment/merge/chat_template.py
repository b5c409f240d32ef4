"""The prompt format of a run as a chat template, so that a chat is read as training read it."""

from __future__ import annotations

import json
from typing import Any

from ifllm_hf.alignment.pairs.config import PromptFormat


def chat_template_of(style: PromptFormat, tokenizer: Any) -> str:
    r"""Write a prompt template as Jinja: what `render_prompt` does, for servers that take chats.

    Args:
        style: The format of a run, `prompt_format: template`.
        tokenizer: Of the model; where it puts a token before every text, so does the template,
            since chats are tokenised without it.

    Returns:
        The template. White space around an answer is removed, and its prefix put before it.
    """
    before, after = style.prompt_template.split("{prompt}")
    ids = tokenizer("a")["input_ids"]
    begins = tokenizer.bos_token_id is not None and ids[:1] == [tokenizer.bos_token_id]
    separator = "{%- if ns.any -%}{{ " + _quoted(style.turn_separator) + " }}{%- endif -%}"
    return (
        ("{{ bos_token }}" if begins else "")
        + "{%- set ns = namespace(any=false) -%}"
        + "{%- for message in messages -%}"
        + "{%- if message['role'] == 'assistant' -%}"
        + f"{{{{ {_quoted(style.response_prefix)} + (message['content'] | trim) }}}}"
        + "{%- elif message['role'] == 'user' -%}"
        + separator
        + f"{{{{ {_quoted(before)} + message['content'] + {_quoted(after)} }}}}"
        + "{%- else -%}"
        + separator
        + "{{ message['content'] }}"
        + "{%- endif -%}"
        + "{%- set ns.any = true -%}"
        + "{%- endfor -%}"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
