"""The turns that the demo shows: a prepared folder, or a made-up release where there is none."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.sessions.sessions_card import is_of_sessions
from ifllm_hf.data.synthetic import SYNTHETIC_PREFIX
from ifllm_hf.errors import SourceError
from ifllm_hf.files import read_parquet, scan_parquet
from ifllm_hf.reward.baselines.by_fold import RewardByFold, fit_prepared
from ifllm_space.page_numbers import OUR_PAGE, RELEASE_PAGE, PageLines

CONVERSATIONS = 24
"""Size of the release that is made up where no data is found."""

BESIDE_APP = Path(__file__).parents[1] / "data"
MODEL = Path(__file__).parents[1] / "model"
PLACES = (Path("ifllm"), BESIDE_APP)
"""Where prepared data is looked for, in this order."""

_INDEX = (
    "query_id", "user_id", "conversation_id", "turn", "kind", "domain", "prompt",
    "preference", "likert_a", "likert_b", "better_than_previous",
)  # fmt: skip


@dataclass(frozen=True)
class DemoData:
    """Turns with what their readers did.

    Attributes:
        folder: The prepared folder.
        made_up: Whether no person stands behind the numbers.
        said: One sentence for the screen: what this data is.
        lines: How its answers were set.
        model: Folder of a trained reward model, if the operator named one.
    """

    folder: Path
    made_up: bool
    said: str
    lines: PageLines = RELEASE_PAGE
    model: Path | None = None

    @cached_property
    def index(self) -> pl.DataFrame:
        """One row per turn, without texts and ticks, ordered by reader, conversation, turn."""
        files = [str(f) for kind in ("pairwise", "pointwise") for f in self._files(kind)]
        ticks = pl.col("t_ms").list.len().alias("ticks")
        turns = scan_parquet(files, include_file_paths="file")
        frame = turns.select(*_INDEX, ticks, "file").collect()
        return frame.sort("user_id", "conversation_id", "turn", "query_id")

    @cached_property
    def reader_names(self) -> dict[str, str]:
        """What the page calls each reader: numbers from 1, in the order of their ids."""
        ids = self.index["user_id"].unique().sort()
        return {user_id: f"Reader {i}" for i, user_id in enumerate(ids, 1)}

    @cached_property
    def features(self) -> pl.DataFrame:
        """The features of every turn, in the order of the files; computed on first use."""
        return behavior_features(read_turns(self.folder))

    @cached_property
    def reward(self) -> RewardByFold:
        """The small rewards: those that came with the Space, else fitted on this data."""
        if (MODEL / "reward.json").is_file() and self.folder == BESIDE_APP.resolve():
            return RewardByFold.load(MODEL)
        return fit_prepared(self.folder, self.features)

    def turn(self, query_id: int) -> dict[str, Any]:
        """Return one row of the `pairwise` or `pointwise` config.

        Raises:
            SourceError: There is no such turn.
        """
        file = self.index.filter(pl.col("query_id") == query_id)["file"]
        if file.is_empty():
            raise SourceError(
                f"query {query_id} is not in {self.folder}. Choose a turn of the list."
            )
        return read_parquet(file[0]).row(by_predicate=pl.col("query_id") == query_id, named=True)

    def _files(self, config: str) -> list[str]:
        return config_files(self.folder, config)


def open_demo_data(
    folder: Path | None = None, *, synthetic: int | None = None, model: Path | None = None
) -> DemoData:
    """Find the data to show.

    Args:
        folder: A prepared folder; None looks in `PLACES`, else makes up a release.
        synthetic: Make up so many conversations instead.
        model: Folder of a trained reward model.

    Raises:
        SourceError: `folder` is no prepared folder, or `model` holds no model.
    """
    if model is not None and not (model / "config.json").is_file():
        raise SourceError(
            f"{model}: holds no model (no config.json). Expected a folder that `recipes/reward.py` "
            "wrote; correct --model or leave it out."
        )
    if folder is not None and not is_prepared(folder):
        raise SourceError(
            f"{folder}: is no prepared folder. Expected what `ifllm prepare` writes: name that, or "
            "leave --data out to see a made-up release."
        )
    if folder is None and synthetic is None:
        folder = next((place for place in PLACES if is_prepared(place)), None)
    if folder is None:
        return _make_up(synthetic or CONVERSATIONS, model)
    folder = folder.resolve()
    users = read_parquet(config_files(folder, "pairwise"), ["user_id"])
    made_up = bool(users["user_id"].str.starts_with(SYNTHETIC_PREFIX).any())
    if made_up:
        said = "Made-up data: no person stands behind it."
    elif is_of_sessions(folder):
        said = "Collected sessions: recordings of people who read answers of language models."
    else:
        said = "The public IFLLM release: recordings of people who read answers of language models."
    return DemoData(folder, made_up, said, model=model)


def open_sessions(sessions: Path) -> DemoData:
    """Read collected sessions as they are now.

    Raises:
        IFLLMError: There are none, or they cannot be read.
    """
    from ifllm_hf.data.prepared.prepare import prepare

    data = DemoData(_temporary_folder(), False, "Collected sessions.", OUR_PAGE)
    weakref.finalize(data, shutil.rmtree, data.folder.parent, ignore_errors=True)
    prepare(sessions, data.folder, progress=False)
    return data


def _make_up(conversations: int, model: Path | None) -> DemoData:
    from ifllm_hf.data.prepared.prepare import prepare_synthetic

    said = f"Made-up data ({conversations} conversations): no person stands behind it."
    data = DemoData(_temporary_folder(), True, said, model=model)
    weakref.finalize(data, shutil.rmtree, data.folder.parent, ignore_errors=True)
    prepare_synthetic(conversations, data.folder, progress=False)
    return data


def _temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="ifllm-space-")) / "ifllm"
