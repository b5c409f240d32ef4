from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate.answers import generate_answers, make_backend
from ifllm_hf.alignment.generate.backend import STOPPED
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.asked_prompts import STYLE, prompts

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def test_vllm_gets_tokens_seeds_and_the_adapter(
    tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in with vLLM's names: what is handed over, not what vLLM makes of it."""
    seen: dict[str, Any] = {}

    class LLM:
        def __init__(self, **options: Any) -> None:
            seen["engine"] = options
            config = types.SimpleNamespace(max_model_len=64)
            self.llm_engine = types.SimpleNamespace(model_config=config)

        def generate(self, asked: Any, parameters: Any, **options: Any) -> Any:
            seen.update(asked=asked, parameters=parameters, **options)
            output = types.SimpleNamespace(
                text=" So.\n\nQuestion:", finish_reason="length", token_ids=[1, 2, 3]
            )
            return [types.SimpleNamespace(outputs=[output]) for _ in asked]

    module = types.ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, lambda **kw: kw  # type: ignore[attr-defined]
    lora = types.ModuleType("vllm.lora")
    request = types.ModuleType("vllm.lora.request")
    request.LoRARequest = lambda *a: a  # type: ignore[attr-defined]
    for name, made in (("vllm", module), ("vllm.lora", lora), ("vllm.lora.request", request)):
        monkeypatch.setitem(sys.modules, name, made)
    sampling = Sampling(backend="vllm", max_new_tokens=8, seed=3)
    spec = ModelSpec("m", str(tiny()), adapter="ORG/adapter")
    got = generate_answers(spec, prompts(2), STYLE, sampling, tmp_path / "a.jsonl", progress=False)
    assert got["p0"].text == "So." and got["p0"].finish == STOPPED
    assert seen["lora_request"] == ("m", 1, "ORG/adapter")
    assert all(isinstance(ids, int) for ids in seen["asked"][0]["prompt_token_ids"])
    assert len({p["seed"] for p in seen["parameters"]}) == 2
    assert seen["parameters"][0]["max_tokens"] == 8
    assert "quantization" not in seen["engine"]
    # What QLoRA trained on is loaded as vLLM loads 4-bit weights.
    in_4bit = Sampling(backend="vllm", max_new_tokens=8, load_in_4bit=True)
    generate_answers(spec, prompts(2), STYLE, in_4bit, tmp_path / "a.jsonl", progress=False)
    assert seen["engine"]["quantization"] == "bitsandbytes"


def test_vllm_that_is_not_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match="backend: transformers"):
        make_backend("vllm", STYLE, Sampling())
