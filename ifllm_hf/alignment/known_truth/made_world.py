"""The readers of a seed: a release of answers by the base model, written, prepared, with its truth.

Two releases of one seed differ in the strength of behaviour or in who clicks, and in nothing else:
texts, likings and the readers who are held out are the same.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from ifllm_hf.alignment.generate.config import ModelSpec
from ifllm_hf.alignment.known_truth.config import TruthGrid, TruthSettings
from ifllm_hf.alignment.labels.write import read_turns_with_features
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.alignment.pipeline.state import DONE, Run, beside
from ifllm_hf.alignment.pretrained.sampled_answers import SHORT, sample_answers
from ifllm_hf.data.known_truth import PairsInTurn, TrueTaste, known_world, true_score
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.synthetic import Readers, count_turns, read_truth, write_synthetic_release
from ifllm_hf.data.tables.folds import assign_folds
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import read_parquet, write_parquet
from ifllm_hf.training.run_record import versions

_QUESTION_SEED = 0x9E57
_SEEDS_APART, _ASKED_LATER = 1000, 500  # of sampling: seeds of pairs, and of answers to be scored


@dataclass(frozen=True)
class MadeWorld:
    """Prepared turns and what is true of them.

    Attributes:
        turns: As `read_turns_with_features` gives them, folds by what readers like.
        truth: By `query_id`: `liked` (a or b), `true_a` and `true_b`, the scores of the answers.
    """

    turns: pl.DataFrame
    truth: pl.DataFrame

    def asked_by_judges(self) -> pl.DataFrame:
        """Return `user_id` and `prompt` of what held-out readers asked.

        Raises:
            DataError: Nobody is held out.
        """
        held_out = self.turns.filter(pl.col("fold") == JUDGE_FOLD)
        if not held_out.height:
            raise DataError(
                f"none of {self.turns['user_id'].n_unique()} readers is in fold {JUDGE_FOLD}, so "
                "there is nobody to ask afterwards; write more conversations"
            )
        return held_out.select("user_id", "prompt").sort("user_id", "prompt")


def ask(
    grid: TruthSettings,
    questions: Sequence[str],
    place: Path,
    seed: int,
    adapter: Path | None = None,
) -> list[list[str]]:
    """Return `grid.answers` sampled answers to each question, the same draws for every model.

    Args:
        grid: Whose base model.
        questions: Each once.
        place: Where answers are kept.
        seed: Of the cell.
        adapter: On the base model; None: the base model itself.
    """
    spec = ModelSpec(
        "base" if adapter is None else adapter.name,
        model=grid.model,
        adapter=None if adapter is None else str(adapter),
    )
    sampling = replace(SHORT, seed=_SEEDS_APART * seed + _ASKED_LATER)
    return sample_answers(
        questions, place, spec=spec, n=grid.answers, sampling=sampling, style=grid.style
    )


def made_world(grid: TruthGrid, seed: int, share: float, strength: float) -> MadeWorld:
    """Write a release, prepare it, and return what `ifllm label` takes; what is there is read.

    Raises:
        ConfigError: There are more turns than questions in the world.
        IFLLMError: See `write_synthetic_release` and `prepare`.
    """
    place = grid.out / f"seed{seed}"
    inputs = {
        "family": grid.family,
        "seed": seed,
        "share": share,
        "strength": strength,
        "versions": versions(("ifllm-hf", "numpy", "polars")),
    }
    run = Run(place / "worlds", f"clicks-{share}-behavior-{strength}", inputs)
    turns_file, truth_file = run.folder / "turns.parquet", run.folder / "truth.parquet"
    if run.state()["status"] != DONE:
        with run.working(stage="world"):
            made = _make(grid, seed, share, strength, place, run.folder)
            write_parquet(turns_file, made.turns)
            write_parquet(truth_file, made.truth)
    return MadeWorld(read_parquet(turns_file), read_parquet(truth_file))


def readers_of(grid: TruthSettings, share: float, strength: float) -> Readers:
    """Return the readers that are wanted, without the texts that they see."""
    return Readers(
        taste=TrueTaste(slope=grid.taste_slope),
        behavior_strength=strength,
        click_share=share,
        click_error=grid.click_error,
        pairwise_only=True,
    )


def questions_of(seed: int) -> list[str]:
    """Return all questions that readers can ask, in the order of a seed."""
    every = known_world().questions("train")
    order = np.random.default_rng([_QUESTION_SEED, seed]).permutation(len(every))
    return [every[i].text for i in order.tolist()]


def pairs_of(
    grid: TruthSettings,
    questions: Sequence[str],
    place: Path,
    seed: int,
    adapter: Path | None = None,
) -> list[tuple[str, str, str]]:
    """Return what readers are shown: questions, each with two sampled answers; see `ask`."""
    spec = ModelSpec(
        "base" if adapter is None else adapter.name,
        model=grid.model,
        adapter=None if adapter is None else str(adapter),
    )
    sampling = replace(SHORT, seed=_SEEDS_APART * seed)
    answers = sample_answers(questions, place, spec=spec, n=2, sampling=sampling, style=grid.style)
    return [(question, a, b) for question, (a, b) in zip(questions, answers, strict=True)]


def _make(
    grid: TruthGrid, seed: int, share: float, strength: float, place: Path, folder: Path
) -> MadeWorld:
    readers = readers_of(grid, share, strength)
    n = count_turns(grid.conversations, seed=seed, readers=readers, defects=False)
    every = questions_of(seed)
    if n > len(every):
        raise ConfigError(
            f"conversations is {grid.conversations}: {n} turns, but the world has {len(every)} "
            "questions; lower it"
        )
    pairs = pairs_of(grid, every[:n], place / "pairs", seed)
    release = beside(folder, "-release")
    for old in (release, folder):  # what an interrupted run left
        if old.exists():
            shutil.rmtree(old)
    write_synthetic_release(
        release,
        conversations=grid.conversations,
        seed=seed,
        readers=replace(readers, texts=PairsInTurn(pairs)),
        defects=False,
        ticks_per_turn=grid.ticks_per_turn,
    )
    prepare(release, folder / "ifllm", progress=False)
    liked = read_truth(release).turns.select("query_id", "liked")
    turns = read_turns_with_features(folder / "ifllm")
    shutil.rmtree(release)
    shutil.rmtree(folder / "ifllm")
    return with_truth(turns, liked)


def with_truth(turns: pl.DataFrame, liked: pl.DataFrame) -> MadeWorld:
    """Score both answers of every turn, and deal folds as if every turn had a click.

    Folds follow clicks (`assign_folds`); so that the same readers are held out whoever clicks, what
    they like stands in for that.

    Args:
        turns: Pairwise turns with features.
        liked: `query_id` and `liked`.
    """
    truth = truth_of(turns, liked)
    told = turns.drop("preference").join(truth.select("query_id", preference="liked"), "query_id")
    folds = assign_folds(told.select("user_id", "kind", "preference"))
    fold = turns["user_id"].replace_strict(folds, return_dtype=pl.Int8)
    return MadeWorld(turns.with_columns(fold.alias("fold")), truth)


def truth_of(turns: pl.DataFrame, liked: pl.DataFrame) -> pl.DataFrame:
    """Return `query_id`, `liked`, `true_a` and `true_b`, the scores of both answers."""
    truth = liked.join(turns.select("query_id", "prompt", "response_a", "response_b"), "query_id")
    rows = truth.select("prompt", "response_a", "response_b").rows()
    return truth.select(
        "query_id",
        "liked",
        pl.Series("true_a", [true_score(q, a).score for q, a, _ in rows], dtype=pl.Float64),
        pl.Series("true_b", [true_score(q, b).score for q, _, b in rows], dtype=pl.Float64),
    ).sort("query_id")
