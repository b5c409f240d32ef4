"""Answers come from the weights that an adapter was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.generate import backend_choice
from ifllm_hf.alignment.generate.answering import answering_weights, are_alike, weights_of
from ifllm_hf.alignment.generate.answers import generate_answers, make_backend
from ifllm_hf.alignment.generate.backend_choice import backend_name
from ifllm_hf.alignment.generate.config import ModelSpec, Sampling
from ifllm_hf.alignment.generate.transformers_backend import TransformersBackend
from ifllm_hf.alignment.policy.precision import MERGE_FILE
from ifllm_hf.errors import ConfigError
from ifllm_hf.training.run_record import RUN_FILE
from ifllm_hf.training.settings_file import build
from tests.helpers.alignment.adapters import plain_adapter
from tests.helpers.alignment.asked_prompts import STYLE, prompts, write

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
Recorded = Callable[..., str]


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    """Return a function that makes the folder of a run, without weights."""

    def make(name: str, **settings: Any) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / RUN_FILE).write_text(json.dumps({"settings": settings}))
        return str(tmp_path / name)

    return make


def test_an_adapter_answers_on_what_it_was_trained_on(recorded: Recorded) -> None:
    qlora = recorded("q", method="qlora", dtype="bfloat16", use_bnb_nested_quant=False)
    lora, unknown = recorded("l", method="lora", dtype="bfloat16"), recorded("u")
    specs = {name: ModelSpec(name, "base", place) for name, place in
             (("q", qlora), ("l", lora), ("u", unknown), ("base", None))}  # fmt: skip
    got = {name: weights_of(spec, Sampling()) for name, spec in specs.items()}
    assert {n: w.precision.in_4bit for n, w in got.items()} == {
        "q": True, "l": False, "u": False, "base": False
    }  # fmt: skip
    assert got["q"].precision.dtype == "bfloat16" and not got["q"].precision.double_quant
    assert got["q"].words == "NF4 base + adapter"
    assert got["l"].words == "float32 base + adapter"  # on a CPU
    assert "does not say" in got["u"].words and got["base"].words == "float32 weights"
    for asked, words in ((True, "NF4"), (False, "float32")):
        given = [weights_of(spec, Sampling(load_in_4bit=asked)) for spec in specs.values()]
        assert all(w.words.startswith(words) for w in given)
    # A checkpoint was trained as its run was.
    (Path(qlora) / "checkpoint-5").mkdir()
    checkpoint = ModelSpec("c", "base", f"{qlora}/checkpoint-5")
    assert weights_of(checkpoint, Sampling()) == got["q"]


def test_a_merged_folder_answers_as_it_is(recorded: Recorded) -> None:
    # It carries the record of the run that trained the adapter, too.
    folder = recorded("m", method="qlora", dtype="bfloat16")
    trained_on = {"in_4bit": True, "dtype": "bfloat16", "words": "NF4"}
    merge = {"trained_on": trained_on, "dtype": "bfloat16"}
    (Path(folder) / MERGE_FILE).write_text(json.dumps(merge))
    got = weights_of(ModelSpec("m", folder), Sampling())
    assert not got.precision.in_4bit and got.base.in_4bit
    assert got.words == "merged bfloat16 (adapter in dequantised NF4)"
    # A base alone is compared with it in the precision that the adapter was trained on.
    both = answering_weights(ModelSpec("base", "base"), [ModelSpec("m", folder)], Sampling())
    assert both["base"].words == "NF4 weights" and are_alike(both["base"], both["m"])


def test_a_base_is_compared_in_the_precision_of_the_candidate(recorded: Recorded) -> None:
    qlora = ModelSpec("q", "base", recorded("q", method="qlora", dtype="bfloat16"))
    lora = ModelSpec("l", "base", recorded("l", method="lora", dtype="bfloat16"))
    base, ready = ModelSpec("base", "base"), ModelSpec("ready", answers="a.jsonl")
    got = answering_weights(base, [qlora, lora], Sampling())
    assert got["base"].precision == got["q"].precision
    assert are_alike(got["base"], got["q"]) and not are_alike(got["base"], got["l"])
    got = answering_weights(base, [lora], Sampling())
    assert not got["base"].precision.in_4bit and are_alike(got["base"], got["l"])
    # An adapter as baseline has a training of its own; what is asked for is done.
    assert answering_weights(lora, [qlora], Sampling())["l"].words == "float32 base + adapter"
    got = answering_weights(base, [qlora], Sampling(load_in_4bit=False))
    assert {w.precision.in_4bit for w in got.values()} == {False}
    got = answering_weights(base, [ready], Sampling())
    assert list(got) == ["base"] and are_alike(got["base"], None)


def test_the_setting_takes_three_values() -> None:
    for value in ("as trained", True, False):
        assert build(Sampling, {"load_in_4bit": value}, "x").load_in_4bit == value
    assert Sampling().load_in_4bit == "as trained"
    with pytest.raises(ConfigError, match="expected one of as trained"):
        Sampling(load_in_4bit="4 bit")


def test_answers_of_one_precision_are_not_those_of_another(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    adapter = plain_adapter(tiny(), tmp_path / "a")
    spec, store = ModelSpec("m", str(tiny()), str(adapter)), tmp_path / "kept.jsonl"
    settings = {"max_new_tokens": 30}
    plain = write(spec, store, **settings)
    record = {"settings": {"method": "qlora", "dtype": "float32"}}
    (adapter / RUN_FILE).write_text(json.dumps(record))
    assert write(spec, store, **settings, load_in_4bit=False) == plain
    assert len(store.read_text().splitlines()) == 5
    quantised = write(spec, store, **settings)
    assert len(store.read_text().splitlines()) == 10 and quantised != plain
    assert write(spec, store, **settings, load_in_4bit=True) == quantised
    write(spec, store, **settings, dtype="bfloat16")
    assert len(store.read_text().splitlines()) == 15


def test_one_base_is_loaded_anew_in_another_precision(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    base = ModelSpec("base", str(tiny()))
    sampling = Sampling(backend="transformers", max_new_tokens=4, stop=())
    backend = TransformersBackend(STYLE, sampling)
    kinds = []
    for in_4bit in (True, False):
        asked = Sampling(load_in_4bit=in_4bit, dtype="float32")
        generate_answers(
            base, prompts(2), STYLE, sampling, tmp_path / "a.jsonl",
            weights=weights_of(base, asked), backend=backend, progress=False,
        )  # fmt: skip
        kinds.append("Linear4bit" in {type(part).__name__ for part in backend._base.modules()})
    assert kinds == [True, False]


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama"])
def test_auto_leaves_to_transformers_what_vllm_cannot(
    tiny: Callable[..., Path], recorded: Recorded, architecture: str,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(backend_choice, "_has_vllm", lambda: True)
    base = str(tiny(architecture))
    whole, lora = ModelSpec("b", base), ModelSpec("l", base, recorded("l", method="lora"))
    auto, vllm = Sampling(), Sampling(backend="vllm")

    def name(sampling: Sampling, *specs: ModelSpec) -> str:
        return backend_name(sampling, [(s, weights_of(s, sampling)) for s in specs])

    assert name(auto, whole) == name(vllm, whole) == "vllm"
    if architecture == "llama":
        assert name(auto, whole, lora) == "vllm"
        other = ModelSpec("o", base, recorded("o", method="qlora", use_bnb_nested_quant=False))
        assert name(auto, other) == "transformers"
        with pytest.raises(ConfigError, match="other than NF4.*ifllm merge"):
            name(vllm, other)
        return
    assert name(auto, whole, lora) == "transformers"
    assert f"l: vLLM puts no adapter on a {architecture}" in caplog.text
    with pytest.raises(ConfigError, match="ifllm merge .*/l FOLDER"):
        name(vllm, whole, lora)


def test_without_vllm_transformers_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_choice, "_has_vllm", lambda: False)
    assert backend_name(Sampling(), []) == "transformers"
    assert make_backend("transformers", STYLE, Sampling()).name == "transformers"


def test_an_adapter_of_other_weights_answers_nothing(
    tiny: Callable[..., Path], recorded: Recorded
) -> None:
    """Shapes fit, and what answered would be neither model."""
    from ifllm_hf.alignment.policy.base_weights import base_fingerprint

    place = recorded("lora", method="lora")
    record = {"settings": {"method": "lora"}, "base_weights": base_fingerprint(str(tiny()))}
    (Path(place) / RUN_FILE).write_text(json.dumps(record))
    assert weights_of(ModelSpec("mine", str(tiny()), place), Sampling()).precision
    with pytest.raises(ConfigError, match="other: .*llama-7 has other weights than the base"):
        weights_of(ModelSpec("other", str(tiny(seed=7)), place), Sampling())


def test_files_that_are_cut_are_one_line(tiny: Callable[..., Path], tmp_path: Path) -> None:
    adapter = plain_adapter(tiny(), tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])
    spec = ModelSpec("cut", str(tiny()), str(adapter))
    with pytest.raises(ConfigError, match="does not fit .*copy it anew") as caught:
        write(spec, tmp_path / "answers.jsonl", prompts(1), max_new_tokens=4)
    assert "\n" not in str(caught.value)
    for name, weights in ((RUN_FILE, spec), (MERGE_FILE, ModelSpec("merged", str(adapter)))):
        (adapter / name).write_text("{")
        with pytest.raises(ConfigError, match=f"{name}: cannot be read as JSON"):
            weights_of(weights, Sampling())
        (adapter / name).unlink()
    with pytest.raises(ConfigError, match="'maybe'; expected one of as trained, true, false"):
        Sampling(load_in_4bit="maybe")
