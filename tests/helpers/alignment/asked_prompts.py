"""Short prompts, and answers to them by a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ifllm_hf.alignment.generate.answers import generate_answers
from ifllm_hf.alignment.generate.backend import JudgedPrompt
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat

STYLE = PromptFormat()


def prompts(n: int = 5) -> list[JudgedPrompt]:
    return [
        JudgedPrompt(
            f"p{i}", f"r{i}", f"Why {'so ' * i}?", f"Question: Why {'so ' * i}?\n\nAnswer:"
        )
        for i in range(n)
    ]


def write(spec: ModelSpec, store: Path, asked: Any = None, **settings: Any) -> Any:
    sampling = Sampling(
        **{"backend": "transformers", "max_new_tokens": 6, "stop": (), **settings}  # type: ignore[arg-type]
    )
    return generate_answers(spec, asked or prompts(), STYLE, sampling, store, progress=False)
