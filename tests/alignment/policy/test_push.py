"""What goes to the Hub, and when: a finished run, whole, in one commit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.errors import ConfigError, OutputError
from tests.helpers.alignment.policies import load, lora
from tests.helpers.loopback_hub import LoopbackHub

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:Could not find a config file in:UserWarning",  # peft, of a base that is no repository
    "ignore:Cannot enable progress bars:UserWarning",  # transformers, after a training that pushes
)
COMMON: dict[str, Any] = {
    "use_cpu": True, "bf16": False, "max_steps": 2, "save_steps": 1, "eval_strategy": "no",
    "gradient_checkpointing": False, "disable_tqdm": True, "max_length": 128, "report_to": "none",
    "per_device_train_batch_size": 2, "dataloader_pin_memory": False, "push_to_hub": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _asks_this_hub(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hub that it spoke to is kept by transformers."""
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)


def run(stage: str, folder: Path, base: Path, *, adapter: Path | None = None, **how: Any) -> Path:
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.alignment.sft.run import run_sft

    policy = PolicyConfig(
        model_name_or_path=str(base),
        method="lora",
        dtype="float32",
        lora_r=4,
        sft_adapter=None if adapter is None else str(adapter),
    )
    data = PairDataConfig(dataset="made-up", eval_fold=0)
    settings = {**COMMON, "output_dir": str(folder), **how}
    if stage == "sft":
        return run_sft(policy, PairSFTConfig(**settings), data)
    return run_dpo(policy, PairDPOConfig(**settings), data)


def test_a_run_is_pushed_once_with_card_and_results_and_without_the_frozen_start(
    hub: LoopbackHub, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    sft = run("sft", tmp_path / "sft", tiny(), hub_model_id="tester/sft")
    run("dpo", tmp_path / "dpo", tiny(), adapter=sft, hub_model_id="tester/dpo")
    for stage in ("sft", "dpo"):
        first, *pushes = hub.repo("models", f"tester/{stage}").commits
        (pushed,) = pushes  # after the commit that made the repository
        files = {name: file.data for name, file in pushed.files.items()}
        assert {"adapter_model.safetensors", "tokenizer.json", "README.md", "run.json"} <= set(
            files
        )
        here = tmp_path / stage
        assert files["README.md"] == (here / "README.md").read_bytes()
        assert f"after {stage.upper()} on made-up" in files["README.md"].decode()
        assert json.loads(files["run.json"])["result"]["steps"] == 2
        assert (
            files["adapter_model.safetensors"] == (here / "adapter_model.safetensors").read_bytes()
        )
        assert not [
            name for name in files if name.startswith(("ref", "checkpoint", "training_args"))
        ]
        for name, content in files.items():
            assert str(tmp_path).encode() not in content, name


def test_a_push_that_fails_says_that_the_run_is_done_and_how_to_push_it(
    hub: LoopbackHub, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    hub.failing["commit"] = 418
    with pytest.raises(OutputError, match=r"tester/late: .*418.*hf upload tester/late .*/out"):
        run("dpo", tmp_path / "out", tiny(), hub_model_id="tester/late")
    assert "result" in json.loads((tmp_path / "out" / "run.json").read_text())
    assert (tmp_path / "out" / "README.md").exists()


def test_a_repository_that_cannot_be_made_is_one_line_before_the_first_step(
    hub: LoopbackHub, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match="theirs/x: the Hub refused"):
        run("dpo", tmp_path / "out", tiny(), hub_model_id="theirs/x")
    assert not list(tmp_path.glob("out/*.safetensors"))


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_checkpoints_are_not_pushed(stage: str, strategy: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"hub_strategy is {strategy}"):
        run(stage, tmp_path / "out", tmp_path, hub_strategy=strategy)


def test_who_pushes_a_trainer_in_python_pushes_no_frozen_copy_and_keeps_a_card(
    hub: LoopbackHub, tiny: Callable[..., Path], make_trainer: Callable[..., Any]
) -> None:
    from peft import get_peft_model

    model = get_peft_model(load(tiny()), lora())
    trainer = make_trainer(
        model, push_to_hub=True, hub_model_id="tester/mine", save_strategy="steps", save_steps=1
    )
    trainer.train()
    card = "---\nlibrary_name: peft\n---\n# mine\n"
    (Path(trainer.args.output_dir) / "README.md").write_text(card)
    trainer.push_to_hub()
    first, pushed = hub.repo("models", "tester/mine").commits
    assert {"adapter_model.safetensors", "README.md"} <= set(pushed.files)
    assert not [n for n in pushed.files if n.startswith(("ref", "checkpoint", "training_args"))]
    assert pushed.files["README.md"].data == card.encode()
