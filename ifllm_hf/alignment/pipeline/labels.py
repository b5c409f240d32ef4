"""The first half of a pipeline: data, folds that stay, labels, and the reward model behind them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.signals import label_model
from ifllm_hf.alignment.labels.write import EXPLICIT, read_turns_with_features, write_labels
from ifllm_hf.alignment.pipeline.config import LabelSource
from ifllm_hf.alignment.pipeline.state import DONE, Run
from ifllm_hf.benchmark.protocol.rows import groups_of, labelled, visible
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import CardWriter, find_release, prepare
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.errors import SourceError
from ifllm_hf.files import digest, read_parquet, write_json
from ifllm_hf.reward.baselines.saving import save_model
from ifllm_hf.training.run_record import versions

PAIRS, REWARD = "pairs.parquet", "reward.skops"


@dataclass(frozen=True)
class LabelSet:
    """A finished set of labels.

    Attributes:
        source: Where they come from.
        pairs: The file.
        digest: Hash of its pairs; equal pairs need no new training, whatever made them.
    """

    source: LabelSource
    pairs: Path
    digest: str


def find_data(
    source: str | None, out: Path, *, dry: bool = False, card: CardWriter | None = None
) -> Path | None:
    """Return the prepared folder; a release or sessions are prepared once for each state of them.

    Args:
        source: See `PipelineConfig.data`.
        out: Output folder of the pipeline.
        dry: Prepare nothing, and return None where that would be needed.
        card: Writes the card of what is prepared; see `prepare`.

    Raises:
        IFLLMError: There is nothing, or it cannot be prepared.
    """
    from ifllm_hf.data.prepared.ifllm import find_source, fingerprint

    source = find_source(None) if source is None else source
    if source is not None and is_prepared(source):
        return Path(source)
    found = find_release(source)
    if not found.exists():
        raise SourceError(
            f"{found}: does not exist; expected a prepared folder, a release or a folder of "
            "sessions. Correct `data`"
        )
    folder = out / "data" / fingerprint(str(found.resolve())) / "ifllm"
    if is_prepared(folder):
        return folder
    if dry:
        return None
    prepare(found, folder, card=card, progress=False)
    return folder


class Data:
    """A prepared folder, read when the first label is needed."""

    def __init__(self, folder: Path, out: Path, *, dry: bool = False) -> None:
        """Hash the data and look up the folds.

        Args:
            folder: A prepared folder; see `find_data`.
            out: Output folder of the pipeline.
            dry: Write nothing.
        """
        self.folder = folder
        self.fingerprint = content_hash(self.folder)
        readers = self._read(["user_id", "fold"])
        self.folds = remember_folds(readers, out / "folds.json", dry=dry)
        self._turns: pl.DataFrame | None = None

    def turns(self) -> pl.DataFrame:
        """Return all turns with features, each reader in the fold they were first given."""
        if self._turns is None:
            self._turns = self._with_folds(read_turns_with_features(self.folder))
        return self._turns

    def questions(self) -> pl.DataFrame:
        """Return what was asked, by whom, and the fold: what judging needs."""
        return self._with_folds(self._read(["prompt", "user_id", "fold", "bullet_suffix"]))

    def _read(self, columns: list[str]) -> pl.DataFrame:
        files = [f for kind in ("pairwise", "pointwise") for f in config_files(self.folder, kind)]
        return read_parquet(files, columns)

    def _with_folds(self, turns: pl.DataFrame) -> pl.DataFrame:
        kept = turns["user_id"].replace_strict(self.folds, return_dtype=pl.Int8)
        return turns.with_columns(kept.alias("fold"))


def content_hash(folder: Path) -> str:
    """Return 16 hex digits of the questions, answers, ratings and ticks of a prepared folder."""
    content = hashlib.sha256()
    for config in ("pairwise", "pointwise"):
        for file in config_files(folder, config):
            content.update(Path(file).read_bytes())
    return content.hexdigest()[:16]


def remember_folds(turns: pl.DataFrame, file: Path, *, dry: bool = False) -> dict[str, int]:
    """Return the fold of every reader of `turns`: as remembered, else from the id alone.

    Folds are dealt anew when readers join, and a reader who judged must never train. So the folds
    of the first data are kept in `file`, and whoever joins later gets `fold_of_unknown`.
    """
    known: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    first = not known
    for user_id, fold in turns.select("user_id", "fold").unique().sort("user_id").iter_rows():
        if user_id not in known:
            known[user_id] = fold if first else fold_of_unknown(user_id)
    if not dry:
        write_json(file, known, indent=1)
    return {user_id: known[user_id] for user_id in turns["user_id"].unique().sort()}


def label_run(source: LabelSource, data: Data, judge_fold: int | None, out: Path) -> Run:
    """Return the place of the labels of a source."""
    settings = {k: v for k, v in asdict(source).items() if k not in ("name", "dpo")}
    inputs = {
        "label": settings,
        "judge_fold": judge_fold,
        "data": data.fingerprint,
        "folds": data.folds,
        "versions": versions(("ifllm-hf", "numpy", "polars", "scikit-learn", "scipy")),
    }
    return Run(out / "labels", source.name, inputs)


def make_labels(source: LabelSource, data: Data, judge_fold: int | None, run: Run) -> LabelSet:
    """Label all pairs, and fit the reward model on all readers but those of the judge's fold.

    What is done already is read.
    """
    pairs = run.folder / PAIRS
    if run.state()["status"] == DONE:
        return LabelSet(source, pairs, run.state()["pairs_digest"])
    with run.working(stage="label", source=source.name) as state:
        turns = data.turns()
        model = None if source.source == EXPLICIT else label_model(source.inputs)
        report = write_labels(
            turns,
            pairs,
            source=source.source,
            model=model,
            nu=source.nu,
            seed=source.seed,
            judge_fold=None if source.source == EXPLICIT else judge_fold,
            overwrite=True,  # of a run that was interrupted; a finished one is never written again
            progress=False,
        )
        state["report"] = report.to_dict()
        state["pairs_digest"] = pairs_digest(read_parquet(pairs))
        if model is not None:
            fit_reward(turns, source, judge_fold, run.folder / REWARD)
    return LabelSet(source, pairs, state["pairs_digest"])


def fit_reward(
    turns: pl.DataFrame, source: LabelSource, judge_fold: int | None, file: Path
) -> None:
    """Fit the labelling model once on every click that it may see, and save it for new sessions."""
    rows = labelled(turns)
    may = np.full(rows.rows.height, True)
    if judge_fold is not None:
        may = (rows.rows["fold"] != judge_fold).to_numpy()
    frame = rows.rows.filter(may)
    model: Any = label_model(source.inputs)()
    model.fit(visible(frame), rows.y[may], groups_of(frame))
    save_model(model, file, overwrite=True)


def pairs_digest(pairs: pl.DataFrame) -> str:
    """Return 16 hex digits of what a language model can learn from pairs, and who may judge."""
    columns = ["query_id", "prompt", "chosen", "rejected", "confidence", "fold", "bullet_suffix"]
    columns += ["history_chosen", "history_rejected"]
    return digest(pairs.select(columns).sort("query_id").write_json(), 16)


def new_pairs(
    pairs: pl.DataFrame, seen: set[int], judge_fold: int | None
) -> tuple[list[int], pl.DataFrame]:
    """Return the ids of training pairs that no run has seen, and those pairs with the judge's.

    The judge's readers stay in the file: a question that they asked too leaves the training side.
    """
    judged = pl.lit(False) if judge_fold is None else pl.col("fold") == judge_fold
    fresh = ~judged & ~pl.col("query_id").is_in(sorted(seen))
    return pairs.filter(fresh)["query_id"].to_list(), pairs.filter(fresh | judged)
