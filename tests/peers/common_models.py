"""Our models under transformers' common tests, around an encoder and a decoder."""

from __future__ import annotations

import copy
import unittest
from typing import Any

import pytest
import torch
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_feature_extraction_common import FeatureExtractionSavingTestMixin
from transformers_tests.test_modeling_common import ModelTesterMixin

import ifllm_hf
from tests.helpers.reward.models import BACKBONES, make_batch
from tests.peers.not_ours import NOT_OURS

_ROWS, _TOKENS = 4, 12


class Tester:
    """Makes the small model and its inputs."""

    batch_size, seq_length, num_hidden_layers, num_attention_heads = _ROWS, _TOKENS, 2, 4
    hidden_size, is_training = 32, True

    def __init__(self, backbone: str) -> None:
        self.backbone = backbone

    def get_config(self) -> Any:
        return ifllm_hf.IFLLMConfig(
            text_config=BACKBONES[self.backbone](),
            trajectory_hidden_size=16,
            trajectory_heads=2,
            modality_dropout=0.0,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, torch.Tensor]]:
        return self.get_config(), make_batch(_ROWS, _TOKENS)


class _Common(ModelTesterMixin):
    """Their tests, without those that `not_ours` names."""

    backbone: str
    all_model_classes = (ifllm_hf.IFLLMModel, ifllm_hf.IFLLMForRewardModeling)
    _is_composite = True
    # Of a text that is there, the vector for texts that are missing has no gradient.
    test_all_params_have_gradient = False

    def setUp(self) -> None:
        test = self.id().rpartition(".")[2]
        for name, reason in NOT_OURS.items():
            if test == name or (name.endswith("*") and test.startswith(name[:-1])):
                pytest.skip(f"not ours: {reason}")
        self.model_tester = Tester(self.backbone)
        if test.startswith("test_training"):  # the body has no loss
            self.all_model_classes = (ifllm_hf.IFLLMForRewardModeling,)
        if test == "test_model_outputs_equivalence":  # under sdpa, which has no attentions to give
            self.has_attentions = False

    def _prepare_for_class(
        self, inputs: dict[str, Any], model_class: Any, return_labels: bool = False
    ) -> dict[str, Any]:
        inputs = copy.deepcopy(inputs)
        if return_labels and model_class is ifllm_hf.IFLLMForRewardModeling:
            inputs["confidence"] = torch.ones(len(inputs["input_ids"]) // 2)
        return inputs


class TestAroundBert(_Common, unittest.TestCase):
    backbone = "bert"


class TestAroundLlama(_Common, unittest.TestCase):
    backbone = "llama"


class TestConfig(unittest.TestCase):
    """Each check of their `ConfigTester` is a test."""

    def setUp(self) -> None:
        self.model_tester = Tester("llama")
        self.checks = ConfigTester(
            self,
            config_class=ifllm_hf.IFLLMConfig,
            has_text_modality=False,
            trajectory_hidden_size=16,
            trajectory_heads=2,
        )


def _add_checks() -> None:
    for name in dir(ConfigTester):
        if name.startswith(("create_and_test", "check_config")):
            short = "test_" + name.removeprefix("create_and_test_").removeprefix("check_")

            def test(self: Any, name: str = name, short: str = short) -> None:
                if short in NOT_OURS:
                    pytest.skip(f"not ours: {NOT_OURS[short]}")
                getattr(self.checks, name)()

            setattr(TestConfig, short, test)


_add_checks()


class TestFeatureExtractor(FeatureExtractionSavingTestMixin, unittest.TestCase):
    feature_extraction_class = ifllm_hf.IFLLMFeatureExtractor
    feat_extract_dict = {"max_ticks": 100, "channels": ["until_end_ms", "heart_rate"]}  # noqa: RUF012
