"""A tiny language model whose code lies beside its weights, as on the Hub."""

from __future__ import annotations

import json
from pathlib import Path

from ifllm_hf.training.tiny_models import build_tiny_model

_CONFIGURATION = """
from transformers import LlamaConfig


class OwnConfig(LlamaConfig):
    model_type = "own_code"
"""
_MODELING = """
from transformers import LlamaForCausalLM, LlamaForSequenceClassification, LlamaModel

from .configuration_own import OwnConfig


class OwnModel(LlamaModel):
    config_class = OwnConfig


class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig


class OwnForSequenceClassification(LlamaForSequenceClassification):
    config_class = OwnConfig
"""
_TOKENIZATION = """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
_CLASSES = {
    "AutoModel": "OwnModel", "AutoModelForCausalLM": "OwnForCausalLM",
    "AutoModelForSequenceClassification": "OwnForSequenceClassification",
}  # fmt: skip


def build_remote_code_model(folder: Path) -> Path:
    """Write it into a folder; nothing of it loads without `trust_remote_code`."""
    build_tiny_model("llama", folder, ["Question: why?\n\nAnswer: because of tides and bread."])
    for name, code in (
        ("configuration_own", _CONFIGURATION), ("modeling_own", _MODELING),
        ("tokenization_own", _TOKENIZATION),
    ):  # fmt: skip
        (folder / f"{name}.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_code", "architectures": ["OwnForCausalLM"], "num_labels": 1,
        "id2label": {"0": "reward"}, "label2id": {"reward": 0},
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            **{auto: f"modeling_own.{own}" for auto, own in _CLASSES.items()},
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    place = folder / "tokenizer_config.json"
    tokenizer = json.loads(place.read_text())
    tokenizer |= {
        "tokenizer_class": "OwnTokenizer",
        "auto_map": {"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]},
    }
    place.write_text(json.dumps(tokenizer))
    return folder
