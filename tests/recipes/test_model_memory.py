"""What the recipes say about memory is the arithmetic of `tests/speed/model_memory.py`."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.speed import model_memory as memory

ROOT = Path(__file__).parents[2]
# As published with each model.
PARAMETERS = {
    "gpt2-xl": 1_557_611_200,
    "pythia-2.8b": 2_775_208_960,
    "olmo2-1b": 1_484_916_736,
    "llama-3.2-3b": 3_212_749_824,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
}
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_recipe_says_what_the_arithmetic_says_and_fits_16_gb(name: str) -> None:
    text = (ROOT / "recipes" / "configs" / f"{name}.yaml").read_text()
    assert memory.head_lines(name) in text
    need = memory.memory_of(name, "qlora")
    assert need.quantised + need.others == PARAMETERS[name]
    assert need.total_gb("qlora") <= 16


def test_layers_add_a_vector_a_token_and_their_adapter_and_attention_is_never_a_matrix() -> None:
    """Which is what lets one layer stand for all, and 16 answers of 256 tokens for 4 of 1,024."""

    def count(layers: int, pairs: int, tokens: int) -> tuple[int, int]:
        config = memory.config_of("gpt2-xl", layers=layers)
        pair = {"prompt_ids": [0] * 8, "chosen_ids": [0] * tokens, "rejected_ids": [0] * tokens}
        found: tuple[int, int] = memory.peak_of_a_step(
            "gpt2-xl", config, "qlora", [pair] * pairs, head=False
        )
        return found

    (one, kept_of_one), (three, kept_of_three) = count(1, 2, 512), count(3, 2, 512)
    config = memory.config_of("gpt2-xl", layers=1)
    adapted = memory.model_on_meta("gpt2-xl", config, "qlora")
    # Autocast keeps a copy of the adapter for the pass.
    copy = 2 * sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    added = (7 + 2 * 512) * 2 * 1600 * 2 + copy
    assert kept_of_three - kept_of_one == pytest.approx(2 * added, rel=0.01)
    assert three - one == pytest.approx(2 * added, rel=0.05)
    assert count(1, 8, 128)[0] == pytest.approx(one, rel=0.05)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_small_shape_keeps_the_proportions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tests" / "speed")
    small = importlib.import_module("on_card.random_models").shape_of(name, 8)
    true, config = memory.config_of(name), memory.config_of(name, small)
    model = memory.model_on_meta(name, config)
    assert 4e6 < sum(parameter.numel() for parameter in model.parameters()) < 20e6
    assert true.hidden_size / config.hidden_size == 8
    heads = [
        c.num_attention_heads / getattr(c, "num_key_value_heads", c.num_attention_heads)
        for c in (true, config)
    ]
    assert heads[0] == heads[1]
