from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf.errors import ConfigError, OutputError
from tests.helpers.loopback import Loopback, Request

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning", "ignore::DeprecationWarning"
)
Run = Callable[..., Path]


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    from ifllm_hf.training.tiny_models import made_up_pairs

    path = tmp_path / "my_pairs.parquet"
    pl.DataFrame(made_up_pairs(20).to_list()).write_parquet(path)
    return path


@pytest.fixture
def run(tmp_path: Path, pairs_file: Path) -> Run:
    """Return a function that runs DPO on 20 pairs for two steps; keyword arguments override."""

    def call(**settings: Any) -> Path:
        from ifllm_hf.alignment.dpo.config import PairDPOConfig
        from ifllm_hf.alignment.dpo.run import run_dpo
        from ifllm_hf.alignment.pairs.config import PairDataConfig
        from ifllm_hf.alignment.policy.config import PolicyConfig

        def of(cls: Any, **defaults: Any) -> Any:
            mine = {k: v for k, v in settings.items() if k in cls.__dataclass_fields__}
            return cls(**{**defaults, **mine})

        training = of(
            PairDPOConfig,
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            bf16=False,
            max_steps=2,
            gradient_checkpointing=False,
            save_steps=1,
            logging_steps=1,
            disable_tqdm=True,
            max_length=256,
            per_device_train_batch_size=2,
            dataloader_pin_memory=False,
        )
        policy = of(
            PolicyConfig,
            model_name_or_path="tiny-random/llama",
            method="lora",
            dtype="float32",
            lora_r=4,
        )
        return run_dpo(policy, training, of(PairDataConfig, dataset=str(pairs_file)))

    return call


def test_the_adapter_and_its_record_lie_in_the_output_folder_itself(run: Run) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    out = run(eval_fold=0, eval_strategy="steps", eval_steps=1, suffix=True)
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "run.json",
        "README.md",
        "tokenizer.json",
    } <= {file.name for file in out.iterdir()}
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["ledger"] == {
        "seen": 20,
        "kept": 20,
        "repaired": 0,
        "repaired_by": {},
        "dropped": {},
    }
    assert (record["data"]["train"], record["data"]["held_out"]) == (16, 4)
    assert len(record["data"]["fingerprint"]) == 16
    assert record["settings"]["preference_loss"] == "cdpo" and record["settings"]["seed"] == 42
    assert record["settings"]["suffix"] is True
    assert record["result"]["steps"] == 2 and record["result"]["step0_margin"] == 0.0
    assert {"torch", "trl", "transformers", "peft"} <= set(record["versions"])
    assert any("eval_rewards/margins" in entry for entry in record["result"]["log"])
    card = (out / "README.md").read_text()
    for said in (
        "LoRA (r 4) on float32 weights",
        "cdpo (beta 0.1",
        "`start`",
        "History: `none`",
        "random weights",
        record["data"]["fingerprint"],
        "16 trained on, 4 held out (fold 0",
    ):
        assert said in card, said
    base = AutoModelForCausalLM.from_pretrained(out / "tiny_model")
    PeftModel.from_pretrained(base, out)


def test_nothing_that_is_saved_names_a_local_path(
    run: Run, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    out = run(model_name_or_path=str(tiny()))
    for file in out.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert str(tmp_path).encode() not in content, file
            assert str(tiny()).encode() not in content, file
    for adapter in (out, out / "checkpoint-1"):
        config = json.loads((adapter / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == tiny().name
    named = run(
        model_name_or_path=str(tiny()), public_name="org/base", output_dir=str(tmp_path / "named")
    )
    config = json.loads((named / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "org/base"
    assert "base_model: org/base" in (named / "README.md").read_text()


def test_an_output_folder_that_exists_is_never_overwritten(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="exists and is not empty"):
        run()
    with pytest.raises(OutputError, match="no finished checkpoint"):
        run(resume_from_checkpoint="true")
    with pytest.raises(OutputError, match="no finished checkpoint there"):
        run(resume_from_checkpoint=str(tmp_path / "nowhere"))
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]
    taken = tmp_path / "out" / "mine.txt"
    for place in (taken, taken / "deeper"):
        with pytest.raises(OutputError, match="mine.txt"):
            run(output_dir=str(place))


def test_resume_continues_from_the_newest_whole_checkpoint_on_the_same_pairs(
    run: Run, tmp_path: Path, pairs_file: Path
) -> None:
    out = run()
    half_written = out / "checkpoint-3"
    half_written.mkdir()
    (half_written / "adapter_model.safetensors").write_bytes(b"half")
    run(resume_from_checkpoint="true", max_steps=4)
    record = json.loads((out / "run.json").read_text())
    assert record["result"]["steps"] == 4
    assert [e["step"] for e in record["result"]["log"] if "loss" in e] == [1, 2, 3, 4]
    assert record["settings_before_resume"] == {"max_steps": 2}

    with pytest.raises(ConfigError, match="pairs changed"):
        run(resume_from_checkpoint="true", max_steps=5, suffix=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    yield place
    # Lazily: the weights that were loaded from there are still mapped.
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize(
    "file", ["adapter_model.safetensors", "optimizer.pt", "trainer_state.json"]
)
def test_a_full_disk_leaves_the_last_checkpoint_and_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, small_disk: Path, file: str
) -> None:
    """The disk fills up just before one file of the second checkpoint is written."""
    from ifllm_hf.alignment.dpo.trainer import PairDPOTrainer

    ballast = small_disk / "ballast"
    name = {
        "adapter_model.safetensors": "_save",
        "optimizer.pt": "_save_optimizer_and_scheduler",
        "trainer_state.json": "_save_rng_state",
    }[file]
    save = getattr(PairDPOTrainer, name)

    def fill() -> None:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as out:
            while True:
                out.write(bytes(4096))

    def full(self: Any, output_dir: str | None = None, *rest: Any) -> None:
        last = str(output_dir).endswith("checkpoint-2")
        if last and file != "trainer_state.json":
            fill()
        save(self, output_dir, *rest)
        if last and file == "trainer_state.json":
            fill()

    out = str(small_disk / "out")
    with monkeypatch.context() as patch:
        patch.setattr(PairDPOTrainer, name, full)
        with pytest.raises(OutputError, match="full.*--resume_from_checkpoint"):
            run(output_dir=out)
    ballast.unlink()
    run(resume_from_checkpoint="true", output_dir=out)
    record = json.loads((small_disk / "out" / "run.json").read_text())
    assert record["result"]["steps"] == 2
    assert (small_disk / "out" / "adapter_model.safetensors").stat().st_size > 0


def test_an_sft_adapter_is_continued_and_only_the_trained_one_is_saved(
    run: Run, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(tiny())
    config = LoraConfig(
        task_type="CAUSAL_LM", r=4, target_modules=["q_proj"], init_lora_weights=False
    )
    get_peft_model(base, config).save_pretrained(tmp_path / "sft")
    margins = {}
    for reference in ("start", "base"):
        out = run(
            model_name_or_path=str(tiny()),
            sft_adapter=str(tmp_path / "sft"),
            reference=reference,
            output_dir=str(tmp_path / reference),
        )
        record = json.loads((out / "run.json").read_text())
        margins[reference] = record["result"]["step0_margin"]
        assert not (out / "ref").exists()
        assert "continuing the adapter sft" in record["used"]["weights"]
    assert margins["start"] == 0.0 and margins["base"] > 0.001
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny()), tmp_path / "start")


def test_full_fine_tuning_against_another_base(run: Run, tiny: Callable[..., Path]) -> None:
    out = run(
        method="full",
        model_name_or_path=str(tiny()),
        reference="base",
        reference_model=str(tiny(seed=1)),
    )
    record = json.loads((out / "run.json").read_text())
    assert record["result"]["step0_margin"] > 0.001
    assert record["used"]["reference"] == tiny(seed=1).name
    assert (out / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ({"per_device_train_batch_size": 16, "max_steps": 3}, True),
        (
            {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_steps": 3},
            True,
        ),
        ({"per_device_train_batch_size": 16, "max_steps": 2}, False),
        ({"per_device_train_batch_size": 16, "max_steps": -1, "num_train_epochs": 3}, False),
    ],
)
def test_few_pairs_that_a_number_of_steps_reads_often_are_warned_of(
    run: Run, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], warned: bool
) -> None:
    run(save_strategy="no", eval_fold=None, **settings)
    assert ("few pairs that are read often make answers worse" in caplog.text) == warned


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nll_reduction": "sum"}, "hundreds of nats per pair"),
        ({"preference_loss": "rdpo_paper"}, "the loss has no lower bound"),
    ],
)
def test_a_loss_as_in_the_paper_says_what_it_does(
    run: Run, caplog: pytest.LogCaptureFixture, settings: dict[str, Any], message: str
) -> None:
    run(max_steps=1, save_strategy="no", **settings)
    assert message in caplog.text


def test_readers_who_trained_the_labeller_judge_in_a_named_experiment_only(
    run: Run, tmp_path: Path, pairs_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fold = pl.when(pl.col("fold") == 3).then(-1).otherwise(pl.col("fold")).cast(pl.Int8)
    file = tmp_path / "labels.parquet"
    pl.read_parquet(pairs_file).with_columns(label_fold=fold).write_parquet(file)
    said = "cannot judge the result"
    for allowed, eval_fold, saw in ((True, 0, 4), (False, 3, 0)):
        out = tmp_path / f"out-{eval_fold}"
        caplog.clear()
        run(
            dataset=str(file), eval_fold=eval_fold, labeller_may_see_judged_readers=allowed,
            max_steps=1, save_strategy="no", output_dir=str(out),
        )  # fmt: skip
        assert (said in caplog.text) == allowed
        assert (said in (out / "README.md").read_text()) == allowed
        record = json.loads((out / "run.json").read_text())
        assert record["data"]["labeller_saw"] == saw
        assert record["settings"]["labeller_may_see_judged_readers"] == allowed


def test_a_chat_template_is_used_where_it_is_asked_for(run: Run) -> None:
    record = json.loads((run(prompt_format="chat", history="chosen") / "run.json").read_text())
    assert record["used"]["prompt"] == "the tokenizer's chat template"
    assert record["result"]["steps"] == 2


def test_long_prompts_are_in_the_ledger(run: Run, tmp_path: Path) -> None:
    from ifllm_hf.training.tiny_models import made_up_pairs

    rows = made_up_pairs(6).to_list()
    rows[2]["prompt"] = "why " * 500
    path = tmp_path / "long.parquet"
    pl.DataFrame(rows).write_parquet(path)
    record = json.loads((run(dataset=str(path), eval_fold=1) / "run.json").read_text())
    assert record["data"]["ledger"]["dropped"] == {"prompt fills max_length": 1}
    assert record["data"]["ledger"]["kept"] == 5
    assert (record["data"]["train"], record["data"]["held_out"]) == (4, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_name_or_path": "./nowhere"}, "no such folder"),
        ({"model_name_or_path": "tiny-random/mamba"}, "no such tiny model"),
        ({"max_length": 4096}, "has 2048 positions"),
        ({"eos_token": "<|nothing|>"}, "does not have; remove it"),
        (
            {"reference_model": "tiny-random/llama"},
            "reference_model .*'start'",
        ),
        ({"sft_adapter": "."}, "no adapter_config.json there"),
        ({"method": "full", "sft_adapter": "x"}, "sft_adapter is set but method is full"),
        ({"method": "half"}, "method is 'half'"),
        ({"method": "lora", "load_in_4bit": True}, "load_in_4bit"),
        ({"model_name_or_path": None}, "model_name_or_path is missing"),
        (
            {"lora_target_modules": ["q_proj", "c_attn"]},
            "c_attn.*tiny-random/llama.*down_proj, gate_proj",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(run: Run, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(**settings)


class RefusingHub(Loopback):
    """Refuses as it is told, and keeps what it was asked for."""

    path = ""
    status, code = 404, "RepoNotFound"

    def answer(self, request: Request) -> None:
        self.requests.append((request.path, request.headers.get("Authorization")))
        request.send(self.status, b"", {"X-Error-Code": self.code})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[RefusingHub]:
    """The Hub is on this machine and refuses."""
    import huggingface_hub
    from huggingface_hub import constants

    with RefusingHub() as server:
        for module in (constants, huggingface_hub.hf_api.constants):
            monkeypatch.setattr(module, "ENDPOINT", server.url)
            monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        huggingface_hub.close_session()
        yield server
    huggingface_hub.close_session()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, "GatedRepo", "gated.*licence.*hf auth login"),
        (403, "GatedRepo", "gated.*licence.*hf auth login"),
        (401, "RepoNotFound", "no such model.*private"),
        (500, "", "cannot be asked for it"),
    ],
)
def test_a_model_out_of_reach_is_refused_before_anything_is_read(
    run: Run, hub: RefusingHub, status: int, code: str, message: str
) -> None:
    hub.status, hub.code = status, code
    with pytest.raises(ConfigError, match=message):
        run(model_name_or_path="meta-llama/Llama-3.2-3B", dataset="would-be-read-next.parquet")
    assert {path for path, _ in hub.requests} == {"/api/models/meta-llama/Llama-3.2-3B/auth-check"}


def test_a_hub_that_does_not_answer_is_said_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.utils import httpx

    def refuse(self: Any, repo_id: str, **kwargs: Any) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "auth_check", refuse)
    with pytest.raises(ConfigError, match="Hub cannot be reached"):
        run(model_name_or_path="meta-llama/Llama-3.2-3B", dataset="would-be-read-next.parquet")


def test_where_nobody_is_held_out_nothing_is_evaluated(run: Run) -> None:
    out = run(eval_fold=None, eval_strategy="steps", eval_steps=1)
    record = json.loads((out / "run.json").read_text())
    assert record["data"]["held_out"] == 0 and record["result"]["steps"] == 2
    assert record["settings"]["eval_strategy"] == "steps"  # as given: the run is known by it
