"""The sentence-encoder model, with a tiny random encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ifllm_hf.errors import ConfigError
from ifllm_hf.reward.baselines import text_models
from ifllm_hf.reward.baselines.saving import load_model
from ifllm_hf.reward.baselines.text_models import EncoderLR, embed, local_encoder

Rows = tuple[pl.DataFrame, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = [
        "the",
        "of",
        "a",
        "river",
        "stone",
        "light",
        "blue",
        "method",
        "answer",
        "perhaps",
        "because",
        "first",
        "second",
    ]
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = str(tmp_path_factory.mktemp("encoder"))
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_embeddings_do_not_depend_on_the_batch(encoder: str) -> None:
    texts = ["river stone", "the light of a river because first", "", "blue"]
    together = embed(encoder, texts)
    np.testing.assert_allclose(np.linalg.norm(together[[0, 1, 3]], axis=1), 1.0, atol=1e-6)
    assert not together[2].any()
    text_models._EMBEDDED.clear()
    alone = np.concatenate([embed(encoder, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_encoder_model_mirrors_and_survives_saving(
    encoder: str, rows: Rows, tmp_path: Path
) -> None:
    frame, y, reader = rows
    model = EncoderLR(folder=encoder, penalty=10.0).fit(frame, y, reader)
    p = model.predict_proba(frame)
    turned = frame.rename({"response_a": "response_b", "response_b": "response_a"})
    np.testing.assert_allclose(p + model.predict_proba(turned), 1.0, atol=1e-9)
    model.save(tmp_path / "e.skops")
    np.testing.assert_array_equal(load_model(tmp_path / "e.skops").predict_proba(frame), p)


def test_no_encoder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_models, "_ENCODER_PACKAGE", "no_such_encoder")
    folder, why = local_encoder()
    assert folder is None and "no_such_encoder" in why and "pip install" in why
    with pytest.raises(ConfigError, match="no folder"):
        embed("", ["a text that was never embedded"])
