"""An adapter goes onto the base that it was trained on, and a run goes on with its own model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.errors import ConfigError, SourceError
from tests.helpers.alignment.policies import load

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:fan_in_fan_out is set to False:UserWarning",
)
Start = Callable[..., Any]


@pytest.fixture(params=["dpo", "sft"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Return a function that starts a run on data that are not there: it must not come so far."""

    def call(**settings: Any) -> Any:
        from ifllm_hf.alignment.pairs.config import PairDataConfig
        from ifllm_hf.alignment.policy.config import PolicyConfig
        from ifllm_hf.alignment.policy.run import prepare_run

        if request.param == "dpo":
            from ifllm_hf.alignment.dpo.config import PairDPOConfig as Config
        else:
            from ifllm_hf.alignment.sft.config import PairSFTConfig as Config

        resume = settings.pop("resume_from_checkpoint", None)
        training = Config(
            str(tmp_path / "out"), use_cpu=True, bf16=False, resume_from_checkpoint=resume
        )
        policy = PolicyConfig(method="lora", **settings)
        return prepare_run(policy, training, PairDataConfig(dataset="nowhere.parquet"))

    return call


def adapter(base: Path, place: Path, **settings: Any) -> Path:
    """Write a fresh adapter of a base, named by its folder."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", **settings)
    get_peft_model(load(base), config).save_pretrained(place)
    return place


def copied(base: Path, place: Path) -> Path:
    shutil.copytree(base, place)
    return place


GETS_TO_THE_DATA = "nowhere.parquet"


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_an_adapter_of_this_base_is_taken(
    tiny: Start, start: Start, tmp_path: Path, architecture: str
) -> None:
    made = adapter(tiny(architecture), tmp_path / "sft")
    with pytest.raises(SourceError, match=GETS_TO_THE_DATA):
        start(model_name_or_path=str(tiny(architecture)), sft_adapter=str(made))
    elsewhere = copied(tiny(architecture), tmp_path / "elsewhere" / tiny(architecture).name)
    with pytest.raises(SourceError, match=GETS_TO_THE_DATA):
        start(model_name_or_path=str(elsewhere), sft_adapter=str(made))


def test_another_name_is_refused_unless_it_is_said_to_be_the_same(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    made = adapter(tiny(), tmp_path / "sft")
    place = made / "adapter_config.json"
    config = {**json.loads(place.read_text()), "base_model_name_or_path": "org/other"}
    place.write_text(json.dumps(config))
    mine = {"model_name_or_path": str(tiny()), "sft_adapter": str(made)}
    with pytest.raises(ConfigError, match=r"was trained on org/other.*--public_name org/other"):
        start(**mine)
    with pytest.raises(SourceError, match=GETS_TO_THE_DATA):
        start(**mine, public_name="org/other")


def test_the_record_of_a_run_tells_the_base_by_its_weights(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    from ifllm_hf.alignment.policy.base_weights import base_fingerprint

    made = adapter(tiny(), tmp_path / "sft")
    (made / "run.json").write_text(json.dumps({"base_weights": base_fingerprint(str(tiny()))}))
    renamed = copied(tiny(), tmp_path / "renamed")
    with pytest.raises(SourceError, match=GETS_TO_THE_DATA):
        start(model_name_or_path=str(renamed), sft_adapter=str(made))
    other = copied(tiny(seed=7), tmp_path / "other" / tiny().name)
    with pytest.raises(ConfigError, match="with other weights than those of"):
        start(model_name_or_path=str(other), sft_adapter=str(made))


def test_files_of_an_adapter_that_are_cut_are_one_line(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    made = adapter(tiny(), tmp_path / "sft")
    weights = made / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    mine = {"model_name_or_path": str(tiny()), "sft_adapter": str(made)}
    for model in (str(tiny()), "tiny-random/llama"):
        with pytest.raises(ConfigError, match="adapter_model.safetensors: cannot be read"):
            start(**mine | {"model_name_or_path": model}, public_name=str(tiny()))
    (made / "run.json").write_text("{")
    with pytest.raises(ConfigError, match="run.json: cannot be read as JSON"):
        start(**mine)


def test_another_shape_under_the_same_name_is_refused(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    made = adapter(tiny(), tmp_path / "sft")
    config = AutoConfig.from_pretrained(tiny())
    config.intermediate_size *= 2
    wider = tmp_path / "wider" / tiny().name
    AutoModelForCausalLM.from_config(config).save_pretrained(wider)
    with pytest.raises(ConfigError, match=r"mlp.down_proj takes 256 values, .* made for 128"):
        start(model_name_or_path=str(wider), sft_adapter=str(made))
    other = copied(tiny("gpt2"), tmp_path / "gpt2" / tiny().name)
    with pytest.raises(ConfigError, match=r"changes model.layers.0.mlp.down_proj, which is not"):
        start(model_name_or_path=str(other), sft_adapter=str(made))


def test_an_adapter_is_no_model_and_a_model_no_adapter(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    made = adapter(tiny(), tmp_path / "sft")
    with pytest.raises(ConfigError, match=f"is an adapter of {tiny()} .*--sft_adapter {made}"):
        start(model_name_or_path=str(made))
    with pytest.raises(ConfigError, match="no adapter_config.json there"):
        start(model_name_or_path=str(tiny()), sft_adapter=str(tiny()))
    with pytest.raises(ConfigError, match="no such folder, and no adapter on the Hub"):
        start(model_name_or_path=str(tiny()), sft_adapter="./nowhere")


def test_a_run_goes_on_with_its_own_model(tiny: Start, start: Start, tmp_path: Path) -> None:
    checkpoint = tmp_path / "out" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")
    record = {"used": {"base_model": tiny().name}, "data": {"fingerprint": "x"}}
    (tmp_path / "out" / "run.json").write_text(json.dumps(record))
    go_on = {"resume_from_checkpoint": "auto"}
    with pytest.raises(SourceError, match=GETS_TO_THE_DATA):
        start(model_name_or_path=str(tiny()), **go_on)
    with pytest.raises(ConfigError, match=f"trains {tiny().name}, and model_name_or_path is gpt2"):
        start(model_name_or_path=str(tiny("gpt2")), **go_on)


def test_a_checkpoint_of_another_place_is_held_to_the_same(
    tiny: Start, start: Start, tmp_path: Path
) -> None:
    checkpoint = adapter(tiny("gpt2"), tmp_path / "other" / "checkpoint-3")
    (checkpoint / "trainer_state.json").write_text("{}")
    with pytest.raises(ConfigError, match="resume_from_checkpoint .* was trained on .*gpt2"):
        start(model_name_or_path=str(tiny()), resume_from_checkpoint=str(checkpoint))
