"""Labels of a pipeline, and the reward model behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.alignment.labels.signals import label_model
from ifllm_hf.alignment.labels.turn_facts import BEHAVED, UNFIT
from ifllm_hf.alignment.labels.write import EXPLICIT, write_labels
from ifllm_hf.alignment.pipeline.config import LabelSource
from ifllm_hf.alignment.pipeline.data import Data
from ifllm_hf.alignment.pipeline.state import DONE, Run
from ifllm_hf.benchmark.protocol.rows import groups_of, labelled, visible
from ifllm_hf.files import digest, read_parquet
from ifllm_hf.reward.baselines.saving import save_model
from ifllm_hf.table_parts import table_files
from ifllm_hf.training.run_record import versions

PAIRS, REWARD = "pairs", "reward.skops"


@dataclass(frozen=True)
class LabelSet:
    """A finished set of labels.

    Attributes:
        source: Where they come from.
        pairs: The folder of their shards.
        digest: Hash of its pairs; equal pairs need no new training, whatever made them.
    """

    source: LabelSource
    pairs: Path
    digest: str


def label_run(source: LabelSource, data: Data, judge_fold: int | None, out: Path) -> Run:
    """Return the place of the labels of a source."""
    settings = {k: v for k, v in asdict(source).items() if k not in ("name", "dpo")}
    inputs = {
        "label": settings,
        "judge_fold": judge_fold,
        "data": data.fingerprint,
        "folds": data.folds,
        "pairs": PAIRS,
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
        model = None if source.source == EXPLICIT else label_model(source.inputs)
        facts = data.facts(None if model is None else model())
        report = write_labels(
            facts,
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
        state["pairs_digest"] = pairs_digest(read_parquet(table_files(pairs)))
        if model is not None:
            fit_reward(facts.facts, source, judge_fold, run.folder / REWARD)
    return LabelSet(source, pairs, state["pairs_digest"])


def fit_reward(
    turns: pl.DataFrame, source: LabelSource, judge_fold: int | None, file: Path
) -> None:
    """Fit the labelling model once on every click that it may see, and save it for new sessions.

    Args:
        turns: With features, or the facts of turns.
        source: Of the labels.
        judge_fold: Whose clicks it may not see.
        file: Where it goes.
    """
    rows = labelled(turns.drop(UNFIT, BEHAVED, strict=False))
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
    pairs: pl.LazyFrame, seen: set[int], judge_fold: int | None
) -> tuple[list[int], pl.DataFrame]:
    """Return the ids of training pairs that no run has seen, and those pairs with the judge's.

    The judge's readers stay in the file: a question that they asked too leaves the training side.
    """
    judged = pl.lit(False) if judge_fold is None else pl.col("fold") == judge_fold
    fresh = ~judged & ~pl.col("query_id").is_in(sorted(seen))
    table = pairs.filter(fresh | judged).collect()
    return table.filter(fresh)["query_id"].to_list(), table
