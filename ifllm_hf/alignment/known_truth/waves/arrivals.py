"""What a wave of readers leaves behind, and the release of all who came so far.

Each wave is a made-up release of its own: other readers, other questions, and answers by the policy
of the wave before. What has arrived is one release, as a folder that collects would hold it.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from ifllm_hf.alignment.known_truth.made_world import pairs_of, questions_of, readers_of
from ifllm_hf.alignment.known_truth.waves.config import TruthWaves, WaveArm
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.data.known_truth import PairsInTurn
from ifllm_hf.data.raw.csv_tables import QUERY_LOGS, TABLE_COLUMNS
from ifllm_hf.data.synthetic import read_truth, readers_of_turns, write_synthetic_release
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.errors import ConfigError, DataError, OutputError
from ifllm_hf.files import whole_folder

_SEEDS_APART, _IDS_APART = 1000, 1_000_000
_BEHAVIOR = "user_behavior"


def turns_of_waves(waves: TruthWaves, seed: int) -> pl.DataFrame:
    """Return who asks what: `wave`, `user_id`, `prompt`, in order; it depends on no policy.

    No question is asked twice, and no reader comes in two waves.

    Raises:
        ConfigError: All waves together ask more than the world has.
    """
    readers = readers_of(waves, waves.share, 0.5)
    asked = [
        (wave, user_id)
        for wave in range(1, waves.waves + 1)
        for user_id in readers_of_turns(
            waves.conversations, seed=_release_seed(seed, wave), readers=readers, defects=False
        )
    ]
    questions = questions_of(seed)
    if len(asked) > len(questions):
        raise ConfigError(
            f"{waves.waves} waves of {waves.conversations} conversations have {len(asked)} turns, "
            f"but the world has {len(questions)} questions; lower waves or conversations"
        )
    turns = pl.DataFrame(asked, schema={"wave": pl.Int64, "user_id": pl.String}, orient="row")
    return turns.with_columns(prompt=pl.Series(questions[: len(asked)]))


def asked_by_judges(turns: pl.DataFrame, folds: Mapping[str, int]) -> pl.DataFrame:
    """Return `user_id` and `prompt` of what held-out readers of all waves ask.

    Args:
        turns: See `turns_of_waves`.
        folds: Of the readers who came so far, as the pipeline keeps them; it gives others theirs by
            their id when they come, so who is held out is known after the first wave.

    Raises:
        DataError: Nobody is held out.
    """
    known = {u: folds.get(u, fold_of_unknown(u)) for u in turns["user_id"].unique().to_list()}
    fold = pl.col("user_id").replace_strict(known, return_dtype=pl.Int64)
    held_out = turns.filter(fold == JUDGE_FOLD)
    if not held_out.height:
        raise DataError(
            f"none of {len(known)} readers is in fold {JUDGE_FOLD}, so there is nobody to ask "
            "afterwards; set conversations higher"
        )
    return held_out.select("user_id", "prompt").sort("user_id", "prompt")


def write_wave(
    waves: TruthWaves,
    arm: WaveArm,
    seed: int,
    wave: int,
    release: Path,
    *,
    answers: Path,
    policy: Path | None,
) -> None:
    """Write the release of one wave, whole or not at all.

    Args:
        waves: The settings.
        arm: Whose readers.
        seed: Of all waves.
        wave: From 1.
        release: The folder to write.
        answers: Where sampled answers are kept.
        policy: The adapter that answers; None: the base model.

    Raises:
        IFLLMError: See `turns_of_waves`, `sample_answers` and `write_synthetic_release`.
    """
    asked = turns_of_waves(waves, seed).filter(pl.col("wave") == wave)
    questions = asked["prompt"].to_list()
    pairs = pairs_of(waves, questions, answers, seed, policy)
    readers = readers_of(waves, waves.share, arm.strength)
    write_synthetic_release(
        release,
        conversations=waves.conversations,
        seed=_release_seed(seed, wave),
        readers=replace(readers, texts=PairsInTurn(pairs)),
        defects=False,
        ticks_per_turn=waves.ticks_per_turn,
    )


def join_releases(releases: Sequence[Path], out: Path) -> None:
    """Make one release of those of the first waves; behaviour files are links, not copies.

    Args:
        releases: As `write_wave` wrote them, the first wave first.
        out: The folder to write, whole or not at all.

    Raises:
        OutputError: It cannot be written, or a reader is in two waves.
    """
    with whole_folder(out) as folder:
        for name, columns in TABLE_COLUMNS.items():
            with (folder / name).open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(columns)
                for wave, release in enumerate(releases, start=1):
                    table.writerows(_rows(release / "dataset" / name, name, wave))
        for release in releases:
            for reader in sorted((release / "dataset" / _BEHAVIOR).iterdir()):
                place = folder / _BEHAVIOR / reader.name
                if place.exists():
                    raise OutputError(
                        f"{release}: {reader.name} came in an earlier wave; expected "
                        "new readers. Take another seed"
                    )
                shutil.copytree(reader, place, copy_function=_link)


def truth_of_wave(release: Path, wave: int) -> pl.DataFrame:
    """Return `query_id`, as in the joined release, `user_id` and `liked` of a wave's turns."""
    turns = read_truth(release).turns
    return turns.select(pl.col("query_id") + wave * _IDS_APART, "user_id", "liked")


def _release_seed(seed: int, wave: int) -> int:
    return _SEEDS_APART * (seed + 1) + wave


def _rows(file: Path, name: str, wave: int) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.reader(opened))[1:]
    if name == QUERY_LOGS:
        at = TABLE_COLUMNS[name].index("query_ID")
        for row in rows:
            row[at] = str(int(row[at]) + wave * _IDS_APART)
    return rows


def _link(source: str, place: str) -> None:
    try:
        os.link(source, place)
    except OSError:  # a file system without links
        shutil.copyfile(source, place)
