"""What a setting needs and is not installed is said before any work."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
from transformers.integrations import integration_utils
from transformers.training_args import OptimizerNames

from ifllm_hf.errors import ConfigError
from ifllm_hf.training.optional_packages import check_packages

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)


def dpo(**given: Any) -> Any:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig

    return PairDPOConfig("out", use_cpu=True, bf16=False, **given)


def sft(**given: Any) -> Any:
    from ifllm_hf.alignment.sft.config import PairSFTConfig

    return PairSFTConfig("out", use_cpu=True, bf16=False, **given)


def reward(**given: Any) -> Any:
    from ifllm_hf.reward.training.config import RewardTrainingConfig

    return RewardTrainingConfig("out", use_cpu=True, **given)


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No module is found that the tests ask for; what is loaded already stays."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda *names: None)
    for name in ("_is_comet_installed", "_has_neptune"):
        monkeypatch.setattr(integration_utils, name, False)
    monkeypatch.delenv("KUBEFLOW_TRAINER_SERVER_URL", raising=False)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("stage", [dpo, sft, reward])
@pytest.mark.parametrize("tracker", integration_utils.INTEGRATION_TO_CALLBACK)
def test_a_missing_tracker_is_named(stage: Callable[..., Any], tracker: str) -> None:
    with pytest.raises(ConfigError, match=f"report_to is {tracker}, .*pip install"):
        stage(report_to=[tracker])


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("stage", [dpo, sft, reward])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"report_to": "paper"}, "report_to is 'paper'; expected none, all, or one of"),
        ({"deepspeed": {"zero_optimization": {"stage": 3}}}, "DeepSpeed needs deepspeed.*fsdp2"),
        ({"use_liger_kernel": True}, "liger-kernel"),
        ({"optim": "galore_adamw"}, "optim galore_adamw needs galore-torch"),
        ({"optim": "paged_adamw_8bit"}, "bitsandbytes"),
    ],
)
def test_a_missing_package_of_a_setting_is_named(
    stage: Callable[..., Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(**given)


@pytest.mark.usefixtures("nothing_installed")
def test_deepspeed_of_the_launcher_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="pip install deepspeed"):
        dpo()


def test_every_optimiser_of_another_package_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that looks for a package is one that we look for first."""
    import inspect
    import re

    from transformers.trainer_optimizer import _OPTIMIZER_HANDLERS

    monkeypatch.setattr(importlib.util, "find_spec", lambda *names: None)
    for name in OptimizerNames:
        handler = _OPTIMIZER_HANDLERS.get(name)
        source = inspect.getsource(handler) if handler is not None else ""
        if re.search(r"_available\(\)|except ImportError", source) and "torch_xla" not in name:
            if "npu" in name:  # of a device, not of a package
                continue
            with pytest.raises(ConfigError, match="pip install"):
                check_packages({"optim": name})


def test_what_is_there_or_asks_for_nothing_is_let_pass() -> None:
    for optimizer in ("adamw_torch", "adamw_torch_fused", "sgd", "adafactor", "adamw_bnb_8bit"):
        dpo(report_to="none", optim=optimizer)
    assert dpo(report_to=[]).report_to == []
