"""Answers of tiny random models: seeded by question, the same in any batch, kept after a kill."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate.answers import generate_answers, make_backend
from ifllm_hf.alignment.generate.backend import CUT, STOPPED, TOO_LONG, JudgedPrompt
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.pairs.config import PromptFormat
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.asked_prompts import STYLE, prompts, write

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def test_batches_and_order_change_no_answer(tiny: Callable[..., Path], tmp_path: Path) -> None:
    spec = ModelSpec("m", str(tiny()))
    one = write(spec, tmp_path / "1.jsonl", batch_size=1)
    four = write(spec, tmp_path / "4.jsonl", prompts()[::-1], batch_size=4)
    assert one == four
    assert len({a.text for a in one.values()}) == 5
    assert all(a.tokens <= 6 for a in one.values())


def test_the_seed_decides_and_temperature_0_needs_none(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    spec, two = ModelSpec("m", str(tiny())), prompts(2)
    sampled = [write(spec, tmp_path / f"{s}.jsonl", two, seed=s) for s in (0, 1)]
    assert sampled[0] != sampled[1]
    cold = [write(spec, tmp_path / f"c{s}.jsonl", two, seed=s, temperature=0.0) for s in (0, 1)]
    assert cold[0] == cold[1]
    # A nucleus of one token is the likeliest token.
    narrow = write(spec, tmp_path / "n.jsonl", two, top_p=1e-6)
    assert narrow == cold[0]


def test_samples_follow_the_model_and_its_nucleus(tiny: Callable[..., Path]) -> None:
    import torch

    from ifllm_hf.alignment.generate.transformers_backend import SeededSampling

    probability = torch.tensor([0.5, 0.3, 0.15, 0.05])
    n = 4000
    logits = probability.log().repeat(n, 1)
    draw = SeededSampling(range(n), 1.0, 1.0, torch.device("cpu"))(None, logits).argmax(1)  # type: ignore[arg-type]
    share = torch.bincount(draw, minlength=4) / n
    assert (share - probability).abs().max() < 0.025
    draw = SeededSampling(range(n), 1.0, 0.7, torch.device("cpu"))(None, logits).argmax(1)  # type: ignore[arg-type]
    share = torch.bincount(draw, minlength=4) / n
    assert share[2:].sum() == 0 and abs(float(share[0]) - 0.625) < 0.03


def test_after_a_kill_only_the_rest_is_generated(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ifllm_hf.alignment.generate.transformers_backend import TransformersBackend

    spec, store = ModelSpec("m", str(tiny())), tmp_path / "a.jsonl"
    whole = write(spec, tmp_path / "whole.jsonl", batch_size=2)
    batches: list[int] = []
    plain = TransformersBackend._batch

    def killed(self: Any, model: Any, tokenizer: Any, batch: Any) -> Any:
        if len(batches) == 1:
            raise KeyboardInterrupt
        batches.append(len(batch))
        return plain(self, model, tokenizer, batch)

    monkeypatch.setattr(TransformersBackend, "_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        write(spec, store, batch_size=2)
    with store.open("ab") as file:  # the kill came in the middle of a line
        file.write(b'{"key": "half a li')
    monkeypatch.setattr(
        TransformersBackend, "_batch", lambda *a: batches.append(len(a[3])) or plain(*a)
    )
    assert write(spec, store, batch_size=2) == whole
    assert batches == [2, 2, 1]
    assert len(store.read_text().splitlines()) == 5
    assert write(spec, store, batch_size=2) == whole
    assert batches == [2, 2, 1]


def test_adapters_are_put_on_one_base_and_taken_off_again(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    places = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny()),
            LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False),
        )
        model.save_pretrained(tmp_path / f"adapter-{seed}")
        places.append(str(tmp_path / f"adapter-{seed}"))
    base = str(tiny())
    sampling = Sampling(backend="transformers", max_new_tokens=40, stop=())
    shared = make_backend("transformers", STYLE, sampling)

    def go(spec: ModelSpec, store: str, backend: Any = None) -> Any:
        return generate_answers(
            spec, prompts(2), STYLE, sampling, tmp_path / store, backend=backend, progress=False
        )

    plain = go(ModelSpec("base", base), "b.jsonl")
    one = go(ModelSpec("one", base, places[0]), "1.jsonl", shared)
    two = go(ModelSpec("two", base, places[1]), "2.jsonl", shared)
    again = go(ModelSpec("base", base), "b2.jsonl", shared)
    assert again == plain and one != plain and two != one
    # The length that was asked for, with an adapter too (padding that was sampled is not counted).
    cut = [a.tokens for got in (plain, one, two) for a in got.values() if a.finish == CUT]
    assert cut and min(cut) > 35
    assert two == go(ModelSpec("two", base, places[1]), "2b.jsonl")
    assert weights_id(places[0]) != weights_id(places[1])


def test_weights_may_be_4_bit_as_qlora_trained_on_them(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from ifllm_hf.alignment.generate.transformers_backend import TransformersBackend

    sampling = Sampling(backend="transformers", max_new_tokens=4, load_in_4bit=True, stop=())
    backend = TransformersBackend(STYLE, sampling)
    spec = ModelSpec("m", str(tiny()))
    got = generate_answers(
        spec, prompts(2), STYLE, sampling, tmp_path / "a.jsonl", backend=backend, progress=False
    )
    assert all(0 < answer.tokens <= 4 for answer in got.values())
    kinds = {type(layer).__name__ for layer in backend._base.modules()}
    assert "Linear4bit" in kinds


def test_prompts_without_room_are_not_cut_but_counted(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    long = JudgedPrompt("long", "r", "?", "Question: " + "why " * 3000 + "?\n\nAnswer:")
    got = write(ModelSpec("m", str(tiny())), tmp_path / "a.jsonl", [*prompts(2), long])
    assert got["long"].finish == TOO_LONG and got["long"].text == ""
    assert got["p0"].finish in (STOPPED, CUT)
    with pytest.raises(ConfigError, match="has 2048 positions"):
        write(ModelSpec("m", str(tiny())), tmp_path / "b.jsonl", max_new_tokens=5000)


def test_a_chat_template_is_used_and_the_end_of_a_turn_ends(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    style = PromptFormat(prompt_format="chat", eos_token="<|im_end|>")
    asked = [JudgedPrompt("p", "r", "Why?", [{"role": "user", "content": "Why?"}])]
    sampling = Sampling(backend="transformers", max_new_tokens=4)
    spec = ModelSpec("m", str(tiny()))
    got = generate_answers(spec, asked, style, sampling, tmp_path / "a.jsonl", progress=False)
    assert got["p"].tokens <= 4 and "<|im" not in got["p"].text
    with pytest.raises(ConfigError, match="eos_token"):
        generate_answers(
            spec, asked, PromptFormat(eos_token="<nope>"), sampling, tmp_path / "b.jsonl",
            progress=False,
        )  # fmt: skip


def test_generation_halts_at_a_stop_text(tiny: Callable[..., Path], tmp_path: Path) -> None:
    spec = ModelSpec("m", str(tiny()))
    free = write(spec, tmp_path / "free.jsonl", prompts(2), max_new_tokens=12)
    text = free["p1"].text
    found = re.search("(?<=.)[a-z]{2}", text)
    assert found is not None, text
    stop = found[0]
    halted = write(spec, tmp_path / "s.jsonl", prompts(2), max_new_tokens=12, stop=(stop,))
    assert halted["p1"].text == text[: text.index(stop)].strip()
    assert halted["p1"].tokens < free["p1"].tokens
