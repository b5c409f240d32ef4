"""The reward model inside the ecosystem: saving, precision, adapters, compilation, TRL."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
import transformers  # noqa: E402

from ifllm_hf.errors import DataError  # noqa: E402
from ifllm_hf.reward.model.configuration_ifllm import CHANNELS, IFLLMConfig  # noqa: E402
from ifllm_hf.reward.model.modeling_ifllm import IFLLMForRewardModeling, IFLLMModel  # noqa: E402
from tests.helpers.alignment.packed_kernel import KERNELS, use_kernel  # noqa: E402
from tests.helpers.reward.models import (  # noqa: E402
    BACKBONES,
    assert_near,
    make_batch,
    reward_model,
    scores,
    text_of,
)

# Wide enough for blocks of 64 weights.
_WIDE = {"hidden_size": 64, "intermediate_size": 128, "head_dim": 16, "num_key_value_heads": 4}


@pytest.mark.parametrize("backbone", [*BACKBONES, None])
def test_saved_and_loaded_by_the_auto_classes_it_scores_the_same(
    backbone: str | None, tmp_path: Path
) -> None:
    model = reward_model(backbone, likert_head=True)
    model.save_pretrained(tmp_path)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert type(loaded) is IFLLMForRewardModeling
    batch = make_batch()
    assert_near(scores(loaded, batch), scores(model, batch), atol=1e-6)
    base = transformers.AutoModel.from_pretrained(tmp_path)
    assert type(base) is IFLLMModel
    with torch.no_grad():
        assert_near(base(**batch).pooler_output, model.model(**batch).pooler_output, atol=1e-6)


def test_auto_classes_know_the_model_in_either_import_order(tmp_path: Path) -> None:
    reward_model().save_pretrained(tmp_path)
    code = (
        "import sys, transformers\n"
        "from transformers import AutoModelForSequenceClassification as Auto\n"
        "import ifllm_hf\n"
        "model = Auto.from_pretrained(sys.argv[1])\n"
        "assert type(model) is ifllm_hf.IFLLMForRewardModeling, type(model)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    model = reward_model()
    model.save_pretrained(tmp_path / "reward")
    other = IFLLMConfig.from_pretrained(tmp_path / "reward", channels=[*CHANNELS, "heart_rate"])
    with pytest.raises(RuntimeError, match="mismatch"):
        IFLLMForRewardModeling.from_pretrained(tmp_path / "reward", config=other)
    drawn_anew = IFLLMForRewardModeling.from_pretrained(
        tmp_path / "reward", config=other, ignore_mismatched_sizes=True
    )
    kept = model.state_dict()
    differ = [n for n, v in drawn_anew.state_dict().items() if not torch.equal(v, kept[n])]
    assert differ == ["model.trajectory_path.tick.weight"]
    assert torch.isfinite(scores(drawn_anew, make_batch(channels=len(CHANNELS) + 1))).all()
    fewer = IFLLMConfig.from_pretrained(tmp_path / "reward", trajectory_layers=1)
    with pytest.raises(DataError, match=r"have no place in it \(model.trajectory_path.layers.1"):
        IFLLMForRewardModeling.from_pretrained(tmp_path / "reward", config=fewer)
    more = IFLLMConfig.from_pretrained(tmp_path / "reward", likert_head=True)
    with pytest.raises(DataError, match=r"2 are missing \(likert.bias, likert.weight\)"):
        IFLLMForRewardModeling.from_pretrained(tmp_path / "reward", config=more)
    with pytest.raises(DataError, match="likert"):
        IFLLMForRewardModeling.from_pretrained(
            tmp_path / "reward", config=more, ignore_mismatched_sizes=True
        )


def test_a_body_without_a_head_gets_one_where_that_is_asked_for(tmp_path: Path) -> None:
    model = reward_model()
    model.model.save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"score.weight.*output_loading_info=True"):
        IFLLMForRewardModeling.from_pretrained(tmp_path)
    again, info = IFLLMForRewardModeling.from_pretrained(tmp_path, output_loading_info=True)
    assert set(info["missing_keys"]) == {"score.weight"}
    batch = make_batch()
    with torch.no_grad():
        assert_near(again.model(**batch).pooler_output, model.model(**batch).pooler_output)


@pytest.mark.parametrize("backbone", ["bert", "llama"])
def test_a_text_checkpoint_is_taken_in_as_it_is(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    config = BACKBONES[backbone]()
    text = transformers.AutoModelForCausalLM.from_config(config)
    text.save_pretrained(tmp_path / "text")
    model = IFLLMForRewardModeling.from_text_backbone(str(tmp_path / "text"))
    wanted = text.base_model.state_dict()
    got = model.model.text.state_dict()
    assert set(got) <= set(wanted)
    for name, value in got.items():
        assert torch.equal(value, wanted[name]), name
    batch = make_batch()
    assert_near(scores(model.eval(), batch), scores(model, text_of(batch)), atol=0)
    assert model.model.text.config._attn_implementation == text.config._attn_implementation
    short = {**text_of(batch), "attention_mask": (torch.arange(12) < 9).expand(4, -1)}
    alone = {name: value[:, :9] for name, value in short.items()}
    assert_near(scores(model, short), scores(model, alone))
    broken = {
        n: v for n, v in text.state_dict().items() if "layers.1" not in n and ".layer.1" not in n
    }
    text.save_pretrained(tmp_path / "broken", state_dict=broken)
    with pytest.raises(DataError, match="are missing"):
        IFLLMForRewardModeling.from_text_backbone(str(tmp_path / "broken"))


def test_bfloat16_and_autocast_come_close_to_float32(tmp_path: Path) -> None:
    model = reward_model()
    batch = make_batch()
    exact = scores(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_near(scores(model, batch), exact, atol=0.15)
    model.save_pretrained(tmp_path)
    half = IFLLMForRewardModeling.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    got = scores(half, batch)
    assert got.dtype == torch.float32
    assert_near(got, exact, atol=0.15)


def test_checkpointing_gives_the_same_gradients() -> None:
    batch = make_batch()
    gradients = []
    for checkpointing in (False, True):
        model = reward_model(modality_dropout=0.0, behavior_dropout=0.0).train()
        if checkpointing:
            model.activation_checkpointing_enable()
            assert model.model.trajectory_path.layers[0].gradient_checkpointing
        model(**batch, confidence=torch.ones(2)).loss.backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, value in gradients[0].items():
        assert_near(value, gradients[1][name], atol=1e-6)


def test_compiled_it_scores_the_same() -> None:
    model = reward_model(trajectory_layers=1)
    batch = make_batch(rows=2)
    compiled = torch.compile(model, backend="eager")
    assert_near(scores(compiled, batch), scores(model, batch))


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # peft's old name
def test_lora_trains_the_backbone_by_adapter_and_the_rest_whole(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    from trl import ModelConfig

    from ifllm_hf.reward.training.trainer import add_adapter

    base = reward_model(opened=False)
    base.save_pretrained(tmp_path / "base")
    model = add_adapter(base, ModelConfig(use_peft=True, lora_r=4, lora_dropout=0.0))
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert any("lora_A" in n for n in trained)
    assert all("lora_" in n for n in trained if ".text." in n)
    assert any("token_path" in n and "gate" in n for n in trained)
    batch = make_batch()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.5)
    for _ in range(3):
        optimizer.zero_grad()
        model(**batch, confidence=torch.ones(2)).loss.backward()
        optimizer.step()
    model.eval()
    assert (scores(model, batch) - scores(model, text_of(batch))).abs().max() > 1e-4
    model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(
        IFLLMForRewardModeling.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    ).eval()
    assert_near(scores(again, batch), scores(model, batch), atol=1e-6)


def test_four_bits_leave_the_behaviour_paths_whole(tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    model = reward_model("llama", backbone_settings=_WIDE)
    model.save_pretrained(tmp_path / "full")
    quantized = IFLLMForRewardModeling.from_pretrained(
        tmp_path / "full",
        quantization_config=transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4"
        ),
    ).eval()
    kinds = {n: type(m) for n, m in quantized.named_modules()}
    assert kinds["model.text.layers.0.self_attn.q_proj"] is bitsandbytes.nn.Linear4bit
    assert kinds["model.token_path.enter"] is kinds["model.join.leave"] is torch.nn.Linear
    quantized.save_pretrained(tmp_path / "small")
    batch = make_batch()
    got = scores(quantized, batch)
    assert torch.isfinite(got).all() and (got - scores(model, batch)).abs().max() < 2.0
    again = IFLLMForRewardModeling.from_pretrained(tmp_path / "small").eval()
    assert_near(scores(again, batch), got)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("fresh_head", [False, True])
def test_a_score_before_training_leaves_the_gradient_of_four_bits_as_it_was(
    fresh_head: bool, kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training on top of an evidence head scores the start first; users may score anything."""
    use_kernel(kernel, monkeypatch)
    model = reward_model("llama", backbone_settings=_WIDE)
    four_bits = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    (model.model.text if fresh_head else model).save_pretrained(tmp_path / "full")
    batch = text_of(make_batch())

    def gradient(*, scored_before: bool) -> torch.Tensor:
        torch.manual_seed(0)
        if fresh_head:
            loaded = IFLLMForRewardModeling.from_text_backbone(
                str(tmp_path / "full"), text_kwargs={"quantization_config": four_bits}
            )
            torch.nn.init.normal_(loaded.score.weight)
        else:
            loaded = IFLLMForRewardModeling.from_pretrained(
                tmp_path / "full", quantization_config=four_bits
            )
        if scored_before:
            scores(loaded.eval(), batch)
        loaded.train()
        embeddings = loaded.get_input_embeddings().weight.requires_grad_()
        loaded(**batch).logits.sum().backward()
        return torch.as_tensor(embeddings.grad)

    right = gradient(scored_before=False)
    assert right.abs().max() > 0
    torch.testing.assert_close(gradient(scored_before=True), right, atol=1e-7, rtol=1e-5)


def test_a_text_only_call_is_a_trl_reward_model() -> None:
    """What GRPO, RLOO and RewardTrainer do with a reward model: text in, `logits[:, 0]` out."""
    model = reward_model("qwen3", opened=False)
    batch = text_of(make_batch())
    with torch.no_grad():
        rewards = model(**batch, use_cache=False, return_dict=True).logits[:, 0]
    assert rewards.shape == (4,) and model.config.num_labels == 1
    assert_near(rewards, scores(model, batch), atol=0)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")
def test_the_reward_trainer_of_trl_trains_it(tmp_path: Path) -> None:
    """With margins, which it passes to the model too; as they are, and through checkpoints."""
    import datasets
    from trl import RewardConfig, RewardTrainer

    from tests.helpers.reward.model_with_processor import ANSWERS, make

    pairs = [{"chosen": ANSWERS[0], "rejected": ANSWERS[1], "margin": 0.1}] * 4
    losses = []
    model, processor = make()
    processor.tokenizer.eos_token = processor.tokenizer.sep_token
    for checkpointing in (False, True):
        trainer = RewardTrainer(
            model=copy.deepcopy(model),
            args=RewardConfig(
                str(tmp_path),
                use_cpu=True,
                bf16=False,
                max_steps=2,
                learning_rate=1e-2,
                logging_steps=1,
                gradient_checkpointing=checkpointing,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                dataloader_pin_memory=False,
            ),
            train_dataset=datasets.Dataset.from_list(pairs),
            processing_class=processor.tokenizer,
        )
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert losses[0][1] < losses[0][0]
    trainer.save_model(str(tmp_path / "saved"))
    again = IFLLMForRewardModeling.from_pretrained(tmp_path / "saved").eval()
    batch = text_of(make_batch())
    assert_near(scores(again, batch), scores(trainer.model.eval(), batch), atol=1e-6)


def test_accumulated_batches_are_one_batch(tmp_path: Path) -> None:
    """The loss is a mean over a micro batch, so `Trainer` has to divide by their number."""
    batch = make_batch(rows=4)

    def collate(pairs: list[int]) -> dict[str, torch.Tensor]:
        rows = torch.tensor([*pairs, *(i + 2 for i in pairs)])
        given = {name: values[rows] for name, values in batch.items()}
        return {**given, "confidence": torch.ones(len(pairs))}

    found = []
    for size in (2, 1):
        model = reward_model("llama", modality_dropout=0.0, behavior_dropout=0.0)
        trainer = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                str(tmp_path),
                use_cpu=True,
                max_steps=1,
                per_device_train_batch_size=size,
                gradient_accumulation_steps=2 // size,
                optim="sgd",
                learning_rate=0.1,
                max_grad_norm=0,
                logging_steps=1,
                report_to="none",
                save_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=[0, 1],
            data_collator=collate,
        )
        trainer.train()
        found.append((trainer.state.log_history[0]["loss"], model.score.weight.detach()))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-4)
    assert_near(found[0][1], found[1][1], atol=1e-5)


def test_flash_attention_is_asked_for_and_not_refused() -> None:
    config = reward_model("llama").config
    with pytest.raises(ImportError, match=r"(?i)flash"):
        IFLLMForRewardModeling._from_config(config, attn_implementation="flash_attention_2")


def test_attention_of_ones_own_reads_the_text() -> None:
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    called = []

    def mine(*args: object, **kwargs: object) -> object:
        called.append(1)
        return sdpa_attention_forward(*args, **kwargs)

    AttentionInterface.register("mine", mine)
    config = IFLLMConfig(text_config=BACKBONES["llama"]())
    model = IFLLMForRewardModeling._from_config(config, attn_implementation="mine").eval()
    scores(model, make_batch())
    assert len(called) == 2  # layers


def test_eager_and_sdpa_agree() -> None:
    config = BACKBONES["llama"]()
    batch = make_batch()
    found = []
    for name in ("eager", "sdpa"):
        torch.manual_seed(0)
        model = IFLLMForRewardModeling._from_config(
            IFLLMConfig(text_config=config), attn_implementation=name
        ).eval()
        assert model.model.text.config._attn_implementation == name
        found.append(scores(model, batch))
    assert_near(*found)
