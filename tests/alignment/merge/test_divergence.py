from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ifllm_hf.alignment.merge.questions import find_questions, style_of
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.errors import IFLLMError


def test_the_divergence_is_the_formula() -> None:
    import torch

    from ifllm_hf.alignment.merge.divergence import divergence

    p, q = torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([[0.25, 0.5, 0.25]])
    expected = 0.5 * torch.tensor(2.0).log() - 0.25 * torch.tensor(2.0).log()
    assert divergence(p.log() + 3, q.log())[0].item() == pytest.approx(float(expected))
    near = torch.randn(2, 50_000)
    assert abs(divergence(near, near + 1e-6)[0].item()) < 1e-12


def test_answers_alone_are_counted_and_the_end_is_one_of_their_tokens(
    tiny: Callable[..., Path],
) -> None:
    from transformers import AutoTokenizer

    from ifllm_hf.alignment.pairs.prompt_tokens import answer_tokens

    tokenizer = AutoTokenizer.from_pretrained(tiny())
    ids, start = answer_tokens(tokenizer, "Question: why?\n\nAnswer:", " So.", PromptFormat())
    assert tokenizer.decode(ids[:start]) == "Question: why?\n\nAnswer:"
    assert tokenizer.decode(ids[start:]) == " So.<|endoftext|>"
    chat = PromptFormat(prompt_format="chat")
    ids, start = answer_tokens(tokenizer, [{"role": "user", "content": "why?"}], "So.", chat)
    assert tokenizer.decode(ids[:start]).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(ids[start:]) == "So.<|im_end|>\n"


def test_questions_without_answers_are_answered_by_the_trained_model(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ifllm_hf.alignment.merge.divergence import tokenized

    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Why {i}?"}) + "\n" for i in range(9)))
    tokenizer = AutoTokenizer.from_pretrained(tiny())
    style = style_of(None, tokenizer)
    assert style.prompt_format == "chat"
    asked = find_questions(None, style, 3, str(file))
    assert len(asked.asked) == 3 and asked.source == "of asked.jsonl"
    model = AutoModelForCausalLM.from_pretrained(tiny())
    texts = tokenized(asked.asked, tokenizer, style, model, max_tokens=5, show=False)
    assert len(texts) == 3
    assert all(0 < len(text.ids) - text.start <= 5 for text in texts)


def test_data_that_are_not_here_are_made_up_and_that_is_said() -> None:
    settings = {"dataset": "gone.parquet", "eval_fold": 3}
    run = {"settings": settings, "data": {"fingerprint": "x"}}
    found = find_questions(run, PromptFormat(), 50)
    assert found.source == "made up, as the run's data are not here" and len(found.asked) == 50
    assert found.asked == find_questions(run, PromptFormat(), 50).asked
    held_out = find_questions(
        {**run, "settings": {**settings, "dataset": "made-up"}}, PromptFormat(), 50
    )
    assert held_out.source.endswith("(made-up, fold 3); the data have changed since")
    nobody = {**run, "settings": {"dataset": "made-up", "eval_fold": None}}
    assert "it held nobody out" in find_questions(nobody, PromptFormat(), 5).source
    with pytest.raises(IFLLMError, match="no such file"):
        find_questions(run, PromptFormat(), 5, "./gone.jsonl")
