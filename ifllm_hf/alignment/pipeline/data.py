"""The data of a pipeline: a prepared folder, its features, and folds that stay."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import polars as pl

from ifllm_hf.alignment.labels.turn_facts import TurnFacts, facts_of_shards, reads_of
from ifllm_hf.behavior.features.by_shard import write_features_of
from ifllm_hf.behavior.features.table import turn_files
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.prepared.prepare import CardWriter, find_release, prepare
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.grow import is_up_to_date, prepare_new
from ifllm_hf.data.sessions.origin import is_sessions_folder
from ifllm_hf.data.tables.folds import fold_of_unknown
from ifllm_hf.errors import SourceError
from ifllm_hf.files import digest, read_parquet, write_json
from ifllm_hf.reward.baselines.protocol import Model
from ifllm_hf.table_parts import table_files
from ifllm_hf.version import __version__


def find_data(
    source: str | None,
    out: Path,
    *,
    dry: bool = False,
    card: CardWriter | None = None,
    workers: int = 1,
) -> Path | None:
    """Return the prepared folder; a release is prepared once, of sessions what is new is read.

    Args:
        source: See `PipelineConfig.data`.
        out: Output folder of the pipeline.
        dry: Prepare nothing, and return None where that would be needed.
        card: Writes the card of what is prepared; see `prepare`.
        workers: Processes that read sessions.

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
    if is_sessions_folder(found):
        folder, work = out / "data" / "ifllm", out / "data" / "ranks"
        if dry:
            return folder if is_up_to_date(found, folder, work) else None
        prepare_new(found, folder, work, engine=engine_for(workers), progress=False)
        return folder
    folder = out / "data" / fingerprint(str(found.resolve())) / "ifllm"
    if is_prepared(folder):
        return folder
    if dry:
        return None
    prepare(found, folder, card=card, progress=False)
    return folder


class Data:
    """A prepared folder, and the features of its turns once a label needs them."""

    def __init__(self, folder: Path, out: Path, *, dry: bool = False, workers: int = 1) -> None:
        """Hash the data and look up the folds.

        Args:
            folder: A prepared folder; see `find_data`.
            out: Output folder of the pipeline.
            dry: Write nothing.
            workers: Shards whose features are computed at once.
        """
        self.folder = folder
        self.fingerprint = content_hash(self.folder)
        readers = self._read(["user_id", "fold"])
        self.folds = remember_folds(readers, out / "folds.json", dry=dry)
        self._features = out / "features"
        self._workers = workers

    def facts(self, model: Model | None) -> TurnFacts:
        """Return what labels are made from, each reader in the fold they were first given.

        Args:
            model: Who looks at features; None: clicks alone are needed.
        """
        features = None if model is None else table_files(self._table_of_features())
        made = facts_of_shards(turn_files(self.folder), features, reads_of(model))
        return TurnFacts(self._with_folds(made.facts), lambda: map(self._with_folds, made.parts()))

    def _table_of_features(self) -> Path:
        """Return the features of all turns; ticks of shards that were there before stay unread."""
        place = self._features / digest([self.fingerprint, __version__], 16)
        if not place.is_dir():
            shards = self._features / "shards"
            write_features_of(turn_files(self.folder), place, workers=self._workers, kept=shards)
            for former in set(self._features.iterdir()) - {place, shards}:
                if former.is_dir():
                    shutil.rmtree(former)
        return place

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
