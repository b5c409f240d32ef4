"""Our processor under transformers' common tests."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
from transformers_tests.test_processing_common import ProcessorTesterMixin

import ifllm_hf
from tests.helpers.reward.tokenizers import make_tokenizer
from tests.peers.not_ours import NOT_OURS


class TestProcessor(ProcessorTesterMixin, unittest.TestCase):
    processor_class = ifllm_hf.IFLLMProcessor

    @classmethod
    def _setup_tokenizer(cls) -> Any:
        return make_tokenizer("wordpiece", ["lower newer upper older longer string"])

    @classmethod
    def _setup_feature_extractor(cls) -> Any:
        return ifllm_hf.IFLLMFeatureExtractor()

    def setUp(self) -> None:
        test = self.id().rpartition(".")[2]
        for name, reason in NOT_OURS.items():
            if test == name or (name.endswith("*") and test.startswith(name[:-1])):
                pytest.skip(f"not ours: {reason}")
