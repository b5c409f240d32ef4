"""Two small rewards side by side, words alone and late reading, one pair per fold of readers.

A reader's turns are scored by the models that never saw that reader; answers of nobody by the mean
(in log odds) of all of them. Fitting takes a second, so a demo can do it when it starts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.sessions.sessions_card import is_of_sessions
from ifllm_hf.data.synthetic import SYNTHETIC_PREFIX
from ifllm_hf.data.tables.folds import FOLDS
from ifllm_hf.errors import DataError, OutputError
from ifllm_hf.files import read_parquet, whole_folder
from ifllm_hf.metrics.ridge import logit, sigmoid
from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.choice import TEXT_MODEL, default_model
from ifllm_hf.reward.baselines.protocol import Model
from ifllm_hf.reward.baselines.saving import load_model
from ifllm_hf.reward.baselines.text_models import TfidfLR

_FACTS = "reward.json"
_KINDS = ("text", "late_reading")
_OLDER = {"late_reading": "text_and_behavior"}
"""What a kind was called, and was then the words with behaviour, in older folders."""


@dataclass(frozen=True)
class TrainedOn:
    """What the models learned from.

    Attributes:
        pairs: Labelled pairs in all folds.
        readers: Readers who labelled them.
        source: `synthetic` (no person stands behind them), `release` or `sessions`.
    """

    pairs: int
    readers: int
    source: str

    @property
    def made_up(self) -> bool:
        """Whether no person stands behind them."""
        return self.source == "synthetic"


@dataclass(frozen=True)
class RewardByFold:
    """Fitted models of P(b preferred): those at `[k]` never saw a reader of fold k.

    Attributes:
        text: TF-IDF logistic regressions.
        late_reading: Length and the end of reading, the model that labels are made with.
        trained_on: What they learned from.
    """

    text: Sequence[TfidfLR]
    late_reading: Sequence[Model]
    trained_on: TrainedOn

    def from_text(self, rows: pl.DataFrame, fold: int | None) -> FloatArray:
        """Return P(b preferred) from the words alone, `[n]`.

        Args:
            rows: `response_a, response_b`.
            fold: Of the reader; None for texts and people that no model saw.
        """
        return _mean([model.predict_proba(rows) for model in _of(self.text, fold)])

    def from_reading(self, rows: pl.DataFrame, fold: int | None) -> FloatArray:
        """Return P(b preferred) from the lengths and the end of reading, `[n]`.

        Args:
            rows: `prompt, turn, response_a, response_b` and the features of `behavior_features`.
            fold: Of the reader; None for texts and people that no model saw.
        """
        return _mean([model.predict_proba(rows) for model in self.readings_of(fold)])

    def readings_of(self, fold: int | None) -> Sequence[Model]:
        """Return the models that `from_reading` asks; see there."""
        return _of(self.late_reading, fold)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write all models and the facts about them into a new folder, whole or not at all.

        Raises:
            OutputError: Something is there already, or it cannot be written.
        """
        folder = Path(folder)
        if os.path.lexists(folder):
            raise OutputError(
                f"{folder}: exists already; expected a free name. Choose another one."
            )
        with whole_folder(folder) as aside:
            for kind in _KINDS:
                for k, model in enumerate(getattr(self, kind)):
                    model.save(aside / f"{kind}-{k}.skops")
            (aside / _FACTS).write_text(json.dumps(asdict(self.trained_on)), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> RewardByFold:
        """Read what `save` wrote; no code of the files is run.

        Raises:
            DataError: There is no such thing.
        """
        folder = Path(folder)
        try:
            facts = TrainedOn(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise DataError(
                f"{folder / _FACTS}: cannot be read ({error}); expected a folder that "
                "`RewardByFold.save` wrote. Write it again."
            ) from error
        text, late = ([load_model(_file(folder, kind, k)) for k in range(FOLDS)] for kind in _KINDS)
        return cls(text, late, facts)


def fit_prepared(
    folder: str | os.PathLike[str], features: pl.DataFrame | None = None
) -> RewardByFold:
    """Fit the models on a prepared folder.

    Args:
        folder: What `ifllm prepare` wrote.
        features: Those of its turns, where they are known already.

    Raises:
        TableError: It is no prepared folder.
        DataError: See `fit_by_fold`.
    """
    if features is None:
        features = behavior_features(read_turns(folder))
    columns = ["query_id", "user_id", "preference", "fold", "turn", "prompt"]
    columns += ["response_a", "response_b"]
    pairs = read_parquet(config_files(folder, "pairwise"), columns)
    source = "sessions" if is_of_sessions(folder) else "release"
    if pairs["user_id"].str.starts_with(SYNTHETIC_PREFIX).any():
        source = "synthetic"
    rows = pairs.join(features.drop("contaminated"), on="query_id", how="left")
    return fit_by_fold(rows, source=source)


def fit_by_fold(rows: pl.DataFrame, *, source: str) -> RewardByFold:
    """Fit the models on the pairs that have a preference.

    Args:
        rows: Turns with two answers, their labels, `fold`, and their features.
        source: See `TrainedOn`.

    Raises:
        DataError: A fold leaves fewer than two labelled pairs, or one side alone, to learn from.
    """
    rows = rows.filter(pl.col("preference").is_in(["a", "b"]))
    y = (rows["preference"] == "b").to_numpy().astype(np.float64)
    fold, readers = rows["fold"].to_numpy(), rows["user_id"].to_numpy()
    text, late = [], []
    for k in range(FOLDS):
        seen = fold != k
        if len(set(y[seen])) < 2:
            raise DataError(
                f"without fold {k} there are {int(seen.sum())} labelled pairs, not of both sides; "
                "expected some where a and some where b was preferred. Use more data."
            )
        train = rows.filter(pl.Series(seen))
        text.append(TfidfLR(TEXT_MODEL).fit(train, y[seen], readers[seen]))
        late.append(default_model().fit(train, y[seen], readers[seen]))
    return RewardByFold(text, late, TrainedOn(len(y), len(set(readers)), source))


def _file(folder: Path, kind: str, fold: int) -> Path:
    """Return the file of a model, by its older name where that is the one there is."""
    file = folder / f"{kind}-{fold}.skops"
    older = folder / f"{_OLDER.get(kind, kind)}-{fold}.skops"
    return older if older.exists() and not file.exists() else file


def _of(models: Sequence[Model], fold: int | None) -> Sequence[Model]:
    return models if fold is None else [models[fold]]


def _mean(chances: Sequence[FloatArray]) -> FloatArray:
    """Average in log odds."""
    return sigmoid(logit(np.stack(chances)).mean(axis=0))
