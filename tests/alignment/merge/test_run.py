"""What is trained is what is served: adapters of every kind, merged and compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.merge.run import Merge, merge_adapter
from ifllm_hf.errors import ConfigError, OutputError
from tests.helpers.alignment.adapters import plain_adapter
from tests.helpers.alignment.remote_code_model import build_remote_code_model

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*gradient_checkpointing.*:FutureWarning",
    "ignore::DeprecationWarning",
    "ignore:fan_in_fan_out is set",
)
Trained = Callable[..., Path]
TEXT = "Question: why do tides work?\n\nAnswer: First"


def merged(adapter: Path, out: Path, **settings: Any) -> Merge:
    return merge_adapter(str(adapter), out, show=False, **{"n_prompts": 4, **settings})


def logits(model: Any, folder: Path) -> Any:
    import torch
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits.float()


@pytest.mark.parametrize("method", ["qlora", "lora"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox"])
def test_served_weights_say_what_the_trained_ones_say(
    trained: Trained, tmp_path: Path, architecture: str, method: str
) -> None:
    """GPT-2 has Conv1D layers, tied embeddings (as Llama), and square ones among them."""
    from transformers import AutoModelForCausalLM

    adapter = trained(f"tiny-random/{architecture}", method=method)
    out = tmp_path / "out"
    kl = merged(adapter, out).record["kl"]
    assert 0 <= kl["trained_served"] < kl["trained_base"] / 100 < 1
    assert kl["prompts"] == 4 and kl["tokens"] > 20
    model = AutoModelForCausalLM.from_pretrained(out, dtype="auto")
    assert {str(p.dtype) for p in model.parameters()} == {"torch.bfloat16"}
    config = json.loads((out / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "bfloat16"
    assert not list(out.glob("adapter*"))
    base = json.loads((adapter / "tiny_model" / "config.json").read_text())
    assert config["tie_word_embeddings"] == base["tie_word_embeddings"]


def test_4_bit_weights_are_read_before_a_cpu_repacks_them(trained: Trained, tmp_path: Path) -> None:
    """What is served is the dequantised base plus the adapter, whatever is measured before."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from ifllm_hf.alignment.policy.precision import Precision

    adapter = trained()
    out = tmp_path / "out"
    merged(adapter, out)
    fresh = AutoModelForCausalLM.from_pretrained(
        adapter / "tiny_model", dtype="bfloat16",
        quantization_config=Precision(True, "bfloat16").quantization(),
    )  # fmt: skip
    layer = fresh.model.layers[0].mlp.down_proj
    base = dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    lora = PeftModel.from_pretrained(fresh, adapter).base_model.model.model.layers[0].mlp.down_proj
    expected = base + lora.get_delta_weight("default").float()
    served = AutoModelForCausalLM.from_pretrained(out, dtype="auto").model.layers[0].mlp.down_proj
    assert torch.equal(served.weight, expected.to(torch.bfloat16))


@pytest.mark.filterwarnings("ignore:Merge lora module to 4-bit")
def test_the_merged_model_is_a_hundred_times_nearer_than_other_ways_to_serve(
    trained: Trained, tmp_path: Path
) -> None:
    """The adapter on the 16-bit base, and merged into the 4-bit weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from ifllm_hf.alignment.merge import divergence, weights
    from ifllm_hf.alignment.merge.adapter import find_adapter
    from ifllm_hf.alignment.merge.questions import find_questions, style_of
    from ifllm_hf.alignment.policy.precision import Precision

    adapter, cpu = find_adapter(str(trained())), torch.device("cpu")
    tokenizer = AutoTokenizer.from_pretrained(adapter.folder)
    style = style_of(adapter.run, tokenizer)
    asked = find_questions(adapter.run, style, 4).asked
    model = divergence.in_float32(weights.put_on(weights.load_base(adapter, cpu), adapter))
    texts = divergence.tokenized(asked, tokenizer, style, model, max_tokens=64, show=False)
    said = divergence.trained_answers(model, texts, show=False)
    merged(trained(), tmp_path / "out", check=False)
    in_16bit = weights.load_base(adapter, cpu, precision=Precision(dtype="bfloat16"))
    into_4bit = weights.put_on(weights.load_base(adapter, cpu), adapter).merge_and_unload()
    served = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").eval()
    ours, on_16bit, in_nf4 = (
        float(divergence.served_divergence(divergence.in_float32(m), said, show=False).mean())
        for m in (served, weights.put_on(in_16bit, adapter), into_4bit)
    )
    assert ours < on_16bit / 100 and ours < in_nf4 / 100


def test_repacked_weights_are_never_dequantised(tiny: Callable[..., Path]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from ifllm_hf.alignment.merge.weights import take_4bit_weights
    from ifllm_hf.alignment.policy.precision import Precision

    plain = AutoModelForCausalLM.from_pretrained(tiny())
    quantised = AutoModelForCausalLM.from_pretrained(
        tiny(), quantization_config=Precision(True, "float32").quantization()
    )
    assert take_4bit_weights(plain, quantised) == 14
    # As bitsandbytes does it at a forward in eval mode, on a CPU that has AVX512-BF16.
    quantised.model.layers[1].mlp.up_proj.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(RuntimeError, match="repacked"), torch.no_grad():
        take_4bit_weights(plain, quantised)


def test_what_is_written_in_float32_was_not_rounded_before(
    trained: Trained, tmp_path: Path
) -> None:
    """Of an adapter on bfloat16 weights: the sum has more digits than its parts."""
    import torch
    from transformers import AutoModelForCausalLM

    out = tmp_path / "out"
    kl = merged(trained(method="lora"), out, dtype="float32").record["kl"]
    assert kl["trained_served"] < 1e-11
    weight = AutoModelForCausalLM.from_pretrained(out).model.layers[0].mlp.down_proj.weight
    assert weight.dtype == torch.float32 and not torch.equal(weight, weight.bfloat16().float())


def test_weights_too_large_for_float16_are_not_written(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    adapter = plain_adapter(tiny(), tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    save_file({n: w * 1e4 for n, w in load_file(file).items()}, file)
    with pytest.raises(ConfigError, match="q_proj.weight has weights that float16 does not hold"):
        merged(adapter, tmp_path / "out", base=str(tiny()), dtype="float16", check=False)
    assert not (tmp_path / "out").exists()


def test_other_files_beside_the_weights_of_a_base_change_nothing(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    from ifllm_hf.alignment.policy.base_weights import base_fingerprint

    copy = tmp_path / "copy"
    shutil.copytree(tiny(), copy)
    shutil.copy(copy / "model.safetensors", copy / "consolidated.safetensors")
    assert base_fingerprint(str(copy)) == base_fingerprint(str(tiny())) is not None


def test_a_distance_that_is_no_number_is_far() -> None:
    from ifllm_hf.alignment.merge.card import is_far

    assert is_far({"trained_served": float("nan"), "trained_base": 1.0})


def test_measuring_repacks_nothing(trained: Trained) -> None:
    """The kernel of such CPUs computes in bfloat16, which would be measured instead."""
    import torch
    from bitsandbytes.nn import Linear4bit

    from ifllm_hf.alignment.merge.adapter import find_adapter
    from ifllm_hf.alignment.merge.divergence import in_float32
    from ifllm_hf.alignment.merge.weights import load_base

    base = load_base(find_adapter(str(trained())), torch.device("cpu"))
    layers = [part for part in base.modules() if isinstance(part, Linear4bit)]
    for layer in layers:
        layer.support_avx512bf16_for_cpu = True
    before = [layer.weight.data.clone() for layer in layers]
    with torch.no_grad():
        said = in_float32(base)(input_ids=torch.tensor([[1, 2, 3]])).logits
    assert said.dtype == torch.float32
    assert all(torch.equal(a, b.weight.data) for a, b in zip(before, layers, strict=True))


def test_an_adapter_that_went_on_from_sft_holds_both(trained: Trained, tmp_path: Path) -> None:
    """DPO loads the SFT adapter twice; what it saves is SFT and DPO in one."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = trained(method="lora", dtype="float32") / "tiny_model"
    sft = plain_adapter(base, tmp_path / "sft", target_modules="all-linear")
    dpo = trained(str(base), method="lora", dtype="float32", sft_adapter=str(sft), max_steps=3)
    out = tmp_path / "out"
    merge = merged(dpo, out, base=str(base), dtype="float32")
    assert merge.record["kl"]["trained_served"] < 1e-9
    expected = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), dpo)
    served = AutoModelForCausalLM.from_pretrained(out)
    assert torch.allclose(logits(served, base), logits(expected, base), atol=1e-4)
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), sft)
    by_dpo = (logits(served, base) - logits(alone, base)).abs().max()
    by_both = (logits(served, base) - logits(expected.base_model.unload(), base)).abs().max()
    assert 1e-3 < by_dpo < by_both


def test_an_sft_adapter_is_merged_and_its_card_names_no_reference(tmp_path: Path) -> None:
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig
    from ifllm_hf.alignment.sft.run import run_sft

    training = PairSFTConfig(
        output_dir=str(tmp_path / "sft"), use_cpu=True, bf16=False, max_steps=2, disable_tqdm=True,
        gradient_checkpointing=False, max_length=256, dataloader_pin_memory=False,
    )  # fmt: skip
    policy = PolicyConfig(model_name_or_path="tiny-random/qwen3", lora_r=4)
    adapter = run_sft(policy, training, PairDataConfig(dataset="made-up", eval_fold=3))
    kl = merged(adapter, tmp_path / "out").record["kl"]
    assert kl["trained_served"] < 1e-5
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Reference model" not in card and "Loss:" in card


def test_shapes_that_fit_under_another_name_are_merged_with_a_warning(
    tiny: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = plain_adapter(tiny(), tmp_path / "adapter")
    merged(adapter, tmp_path / "out", base=str(tiny(seed=7)), check=False)
    # PEFT writes down where the base lay; what is published does not.
    for file in (tmp_path / "out").iterdir():
        assert str(tiny().parent).encode() not in file.read_bytes(), file
    assert f"trained on {tiny().name}" in caplog.text and "nothing else can be told" in caplog.text


def test_a_checkpoint_is_merged_by_the_record_of_its_run(trained: Trained, tmp_path: Path) -> None:
    run = trained(save_steps=2)
    record = merged(run / "checkpoint-2", tmp_path / "out").record
    assert record["trained_on"]["in_4bit"] and record["kl"]["trained_served"] < 1e-5


@pytest.mark.filterwarnings(
    "ignore:Model .*tie", "ignore:Model with `tie", "ignore:Setting .save_embedding"
)
@pytest.mark.parametrize("settings", [{"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["embed_tokens", "q_proj"]}, {"modules_to_save": ["lm_head"]},
    {"target_modules": "lm_head|.*q_proj"}, {"use_dora": True},
    {"target_modules": "all-linear", "use_rslora": True}])  # fmt: skip
def test_adapters_of_others_keep_what_they_learned(
    tiny: Callable[..., Path], tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Tied embeddings of which one alone is adapted come apart, as they were in training."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapter = plain_adapter(tiny(), tmp_path / "adapter", **settings)
    trained = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny()), adapter)
    out = tmp_path / "out"
    record = merged(adapter, out, base=str(tiny()), dtype="float32").record
    served = AutoModelForCausalLM.from_pretrained(out)
    assert torch.allclose(logits(served, tiny()), logits(trained, tiny()), atol=1e-4)
    assert record["kl"]["trained_served"] < 1e-9 and not record["trained_on"]["in_4bit"]
    assert record["kl"]["source"].startswith("made up")


def test_a_model_that_brings_its_own_code_keeps_it(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = build_remote_code_model(tmp_path / "own")
    # The same weights under the architecture that the code derives from.
    adapter = plain_adapter(_without_code(base, tmp_path / "llama"), tmp_path / "adapter")
    with pytest.raises(ConfigError, match="--trust-remote-code"):
        merged(adapter, tmp_path / "out", base=str(base))
    merged(adapter, tmp_path / "out", base=str(base), trust_remote_code=True)
    served = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert type(served).__name__ == "OwnForCausalLM"


def _without_code(base: Path, out: Path) -> Path:
    shutil.copytree(base, out)
    config = json.loads((out / "config.json").read_text())
    del config["auto_map"]
    config |= {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (out / "config.json").write_text(json.dumps(config))
    return out


def test_the_folder_asks_and_ends_as_the_run_did(trained: Trained, tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    out = tmp_path / "out"
    merged(trained(method="lora", eos_token="<|im_end|>"), out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.eos_token == "<|im_end|>"
    chat = [{"role": "user", "content": "Why?"}]
    asked = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert asked == "Question: Why?\n\nAnswer:"
    assert GenerationConfig.from_pretrained(out).eos_token_id == tokenizer.eos_token_id
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == tokenizer.eos_token_id


def test_a_run_on_chats_keeps_the_chat_template(trained: Trained, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    adapter = trained(method="lora", prompt_format="chat", eos_token="<|im_end|>")
    merged(adapter, tmp_path / "out")
    templates = [
        AutoTokenizer.from_pretrained(folder).chat_template
        for folder in (adapter, tmp_path / "out")
    ]
    assert templates[0] == templates[1] and "im_start" in templates[1]


def test_card_and_records_say_what_was_merged_and_measured(
    trained: Trained, tmp_path: Path
) -> None:
    adapter, out = trained(), tmp_path / "out"
    merge = merged(adapter, out, n_prompts=50)
    record = json.loads((out / "merge.json").read_text())
    assert record == json.loads(json.dumps(merge.record))
    assert json.loads((out / "run.json").read_text()) == json.loads(
        (adapter / "run.json").read_text()
    )
    card = (out / "README.md").read_text()
    kl = record["kl"]
    for said in (
        f"| {kl['trained_served']:.2g} |", f"| {kl['trained_base']:.2g} |",
        f"{kl['prompts']} prompts, {kl['tokens']} answer tokens",
        "of the readers that the run held out (made-up, fold 3)", "on NF4 weights",
        "`'Question: {prompt}\\n\\nAnswer:'`", "cdpo (beta 0.1", "random weights",
        "<|endoftext|>",
    ):  # fmt: skip
        assert said in card, said
    assert "more than a tenth" not in card and "not measured" not in card
    for file in out.iterdir():
        assert str(adapter.parent).encode() not in file.read_bytes(), file
    assert f"{kl['trained_served']:.2g}" in merge.text()


def test_the_served_folder_answers_as_the_trained_model(trained: Trained, tmp_path: Path) -> None:
    from ifllm_hf.alignment.generate.config import ModelSpec
    from tests.helpers.alignment.asked_prompts import prompts, write

    adapter, out = trained(dtype="float32", learning_rate=2e-2), tmp_path / "out"
    merged(adapter, out, check=False, dtype="float32")
    base = str(adapter / "tiny_model")
    settings = {"max_new_tokens": 12, "temperature": 0.0}
    specs = (ModelSpec("a", base, str(adapter)), ModelSpec("m", str(out)), ModelSpec("b", base))
    by_adapter, by_merged, by_base = (
        write(spec, tmp_path / f"{spec.name}.jsonl", prompts(3), **settings) for spec in specs
    )
    assert by_adapter == by_merged != by_base


def test_an_adapter_on_the_hub_is_fetched(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    adapter, asked = trained(), []

    def fetched(name: str, allow_patterns: list[str]) -> str:
        asked.append(name)
        if name == "ORG/gone":
            raise OSError("no network")
        return str(adapter)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    record = merged(Path("ORG/adapter"), tmp_path / "out", check=False).record
    assert asked == ["ORG/adapter"] and record["adapter"] == "ORG/adapter"
    with pytest.raises(ConfigError, match="no network"):
        merged(Path("ORG/gone"), tmp_path / "other")


def test_without_a_check_nothing_is_measured_and_the_card_says_so(
    trained: Trained, tmp_path: Path
) -> None:
    record = merged(trained(), tmp_path / "out", check=False).record
    assert record["kl"] is None
    assert "not measured" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("shards", [1, 3])
def test_what_the_converter_of_llama_cpp_reads_is_there(
    trained: Trained, tmp_path: Path, shards: int
) -> None:
    """Its input checks: architecture, one name for each tensor, a vocabulary that fits."""
    from safetensors import safe_open
    from transformers import AutoTokenizer

    out = tmp_path / "out"
    merged(trained(), out, check=False, shard_size="4GB" if shards == 1 else "60KB")
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    parts = sorted(f.name for f in out.glob("model*.safetensors"))
    assert len(parts) >= shards
    names: set[str] = set()
    for part in parts:
        with safe_open(out / part, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                assert opened.get_slice(name).get_dtype() == "BF16"
                names.add(name)
    if shards > 1:
        index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
        assert set(index) == names and set(index.values()) == set(parts)
    assert not [n for n in names if "lora" in n or "base_layer" in n or "absmax" in n]
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= names
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (out / file).is_file()
    assert "tokenizer_class" in json.loads((out / "tokenizer_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert max(tokenizer.get_vocab().values()) < config["vocab_size"]


def test_the_command_prints_what_was_measured(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ifllm_hf import cli

    asked = ["merge", str(trained()), str(tmp_path / "out"), "--n-prompts", "2"]
    assert cli.main(asked) == 0
    out, err = capsys.readouterr()
    assert out.startswith("KL(trained, served)") and "how far training moved" in out
    assert "NF4 weights of tiny-random/llama" in err
    assert cli.main([*asked[:2], str(tmp_path / "json"), "--no-check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kl"] is None
    assert cli.main(asked) == 1
    assert "is taken" in capsys.readouterr().err
    assert cli.main([*asked[:2], str(tmp_path / "no"), "--no-check", "--prompts", "x"]) == 1
    assert "Leave one of them out" in capsys.readouterr().err


# --- what is refused, before weights are loaded --------------------------------------------------


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where weights would be loaded."""
    from ifllm_hf.alignment.merge import weights

    def refused(*args: Any, **options: Any) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(weights, "load_base", refused)


@pytest.mark.usefixtures("no_weights")
def test_what_cannot_be_merged_is_one_line(
    trained: Trained, tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = trained(), tmp_path / "out"

    def refused(adapter: Path, match: str, error: Any = ConfigError, **settings: Any) -> None:
        with pytest.raises(error, match=match) as caught:
            merged(adapter, settings.pop("to", out), **settings)
        assert "\n" not in str(caught.value) and not out.exists()

    refused(tiny(), "whole model.*nothing to merge")
    refused(tmp_path, "no adapter_config.json")
    refused(tmp_path / "nowhere", "no such folder")
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").touch()
    refused(run, "is taken", OutputError, to=taken)
    refused(run, "is taken", OutputError, to=taken / "file")
    refused(run, "no such folder", base=str(tmp_path / "nowhere"))
    refused(run, "is an adapter too", base=str(run))
    refused(
        run,
        "trained on another model.*gpt2.*changes model.layers.* not there",
        base=str(tiny("gpt2")),
    )
    refused(run, "has other weights.*by their fingerprint", base=str(tiny(seed=7)))
    refused(run, "float16, float32", dtype="int8")
    refused(run, "--shard-size is 'foo'; expected .* 4GB", shard_size="foo")
    other = tmp_path / "t5"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "t5"}')
    refused(run, "no language model can be made of its config .T5Config", base=str(other))
    lora = trained(method="lora")
    refused(lora, "trained on bfloat16 weights", load_in_4bit=True)

    alone = tmp_path / "alone"
    shutil.copytree(run, alone, ignore=shutil.ignore_patterns("tiny_model"))
    refused(alone, "no tiny_model beside it")
    config = json.loads((alone / "adapter_config.json").read_text())
    for change, match in (
        ({"base_model_name_or_path": "my-sft"}, "my-sft, cannot be had.*--base"),
        ({"base_model_name_or_path": None}, "does not name its base"),
        ({"task_type": "SEQ_CLS"}, "SEQ_CLS"),
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING, which cannot be merged"),
    ):
        (alone / "adapter_config.json").write_text(json.dumps(config | change))
        refused(alone, match)
    (alone / "adapter_config.json").write_text("[1]")
    refused(alone, "adapter_config.json: holds list and no JSON object")
    shutil.copy(run / "adapter_config.json", alone)
    for content, match in (
        ('{"settings":', "run.json: cannot be read as JSON"),
        ("[]", "run.json: holds list"),
        ('{"settings": {"method": "qlora"}}', "its run.json is no record .*no data, used"),
    ):
        (alone / "run.json").write_text(content)
        refused(alone, match)
    (alone / "adapter_model.safetensors").unlink()
    refused(alone, "no weights of an adapter")

    free = type("Usage", (), {"free": 10_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda place: free)
    refused(run, r"needs 0\.0 GB and 0\.0 GB are free", OutputError)


@pytest.mark.usefixtures("no_weights")
def test_a_base_of_another_size_is_named_with_both_sizes(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = plain_adapter(tiny(), tmp_path / "adapter")
    other = tmp_path / "other"
    shutil.copytree(tiny(), other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_size": 32, "head_dim": 16}))
    with pytest.raises(ConfigError, match=r"q_proj takes 32 values, .* made for 64"):
        merged(adapter, tmp_path / "out", base=str(other))


def test_the_base_of_a_run_is_known_again_wherever_it_lies(
    trained: Trained, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    run = trained(str(tiny()), method="lora")
    with pytest.raises(ConfigError, match="cannot be had"):
        merged(run, tmp_path / "out")
    copied = tmp_path / "renamed"
    shutil.copytree(tiny(), copied)
    assert merged(run, tmp_path / "out", base=str(copied), check=False).folder.is_dir()
