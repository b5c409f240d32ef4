from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ifllm_hf.errors import ConfigError

# Both are TRL's own use of names that transformers deprecated; peft warns about Conv1D.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Make = Callable[..., Any]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preference_loss": "kto"}, "preference_loss is 'kto'"),
        ({"preference_loss": "cdpo", "noise_rate": 0.1}, "does not use it"),
        ({"preference_loss": "rdpo", "noise_rate": 0.5}, r"expected a rate in \[0, 0.5\)"),
        ({"nll_reduction": "mean"}, "nll_reduction"),
        ({"nll_weight": -1.0}, "nll_weight is -1"),
        ({"beta": 0.0}, "beta is 0"),
        ({"reference": "sft"}, "reference is 'sft'"),
        ({"loss_type": ["robust"]}, "set preference_loss instead"),
        ({"label_smoothing": 0.1}, "label_smoothing is 0.1"),
        ({"sync_ref_model": True}, "sync_ref_model"),
        ({"bf16": True, "use_cpu": False}, "no GPU that supports it was found"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("transformers.utils.is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(ConfigError, match=message):
        make_trainer(**settings)
