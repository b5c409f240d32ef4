"""What a model answers to questions in plain words: pairs for readers, and answers to score.

pairs = sample_pairs([q.text for q in known_world().questions("train")[:n]], folder)
write_synthetic_release(out, readers=Readers(texts=PairsInTurn(pairs), taste=TrueTaste()))
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ifllm_hf.alignment.generate.answers import generate_answers
from ifllm_hf.alignment.generate.backend import JudgedPrompt
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.pairs.format import render_prompt
from ifllm_hf.alignment.policy.load import check_access
from ifllm_hf.files import digest
from ifllm_hf.reward.pretrained.shipped import KNOWN_TRUTH

SHORT = Sampling(backend="transformers", max_new_tokens=96, batch_size=64)
"""Answers of the world are 5 to 60 tokens long."""


def sample_answers(
    questions: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    spec: ModelSpec | None = None,
    n: int = 1,
    sampling: Sampling = SHORT,
    style: PromptFormat | None = None,
    progress: bool = False,
) -> list[list[str]]:
    """Answer each question `n` times; the same seeds give the same answers.

    Two models that are asked alike draw the same random numbers, so that their answers differ by
    what they learned.

    Args:
        questions: In words, each once.
        folder: Where answers are kept; what lies there is not generated again.
        spec: Who answers; default: the model that comes with the package.
        n: Answers to a question; answer k is drawn with seed `sampling.seed + k`.
        sampling: How they are drawn.
        style: How a question looks to the model; default: as the recipes write it, without a past.
        progress: Whether to draw progress bars on stderr.

    Returns:
        For each question its answers.

    Raises:
        ConfigError: There is no such model.
        OutputError: `folder` cannot be written.
    """
    spec = spec or ModelSpec(KNOWN_TRUTH, model=KNOWN_TRUTH)
    style = style or PromptFormat()
    for place in (spec.model, spec.adapter):
        if place is not None:
            check_access(place)
    prompts = [_asked(question, style) for question in questions]
    answers: list[list[str]] = [[] for _ in questions]
    for k in range(n):
        seeded = replace(sampling, seed=sampling.seed + k)
        store = Path(folder) / f"answers-{seeded.seed}.jsonl"
        found = generate_answers(spec, prompts, style, seeded, store, progress=progress)
        for said, prompt in zip(answers, prompts, strict=True):
            said.append(found[prompt.prompt_id].text)
    return answers


def sample_pairs(
    questions: Sequence[str],
    folder: str | os.PathLike[str],
    *,
    spec: ModelSpec | None = None,
    sampling: Sampling = SHORT,
    progress: bool = False,
) -> list[tuple[str, str, str]]:
    """Answer each question twice: (question, answer, other answer), as `PairsInTurn` takes them.

    Args and errors are those of `sample_answers`.
    """
    answers = sample_answers(
        questions, folder, spec=spec, n=2, sampling=sampling, progress=progress
    )
    return [(question, a, b) for question, (a, b) in zip(questions, answers, strict=True)]


def _asked(question: str, style: PromptFormat) -> JudgedPrompt:
    message = {"role": "user", "content": question}
    prompt = render_prompt(
        [message], style.prompt_template, style.response_prefix, style.turn_separator
    )
    name = digest(question, 16)
    asked = [message] if style.prompt_format == "chat" else prompt
    return JudgedPrompt(name, name, question, asked)
