"""What is true of a made-up release, kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ifllm_hf.data.synthetic.page import SURFACES
from ifllm_hf.errors import SourceError
from ifllm_hf.files import read_parquet, scan_parquet, write_parquet

FOLDER = "truth"
PHASE = pl.Enum(["reading", "rating", "after"])
SIDE = pl.Enum(["none", "a", "b"])
SURFACE = pl.Enum(SURFACES)


@dataclass(frozen=True)
class Defect:
    """One defect that was put in on purpose.

    Attributes:
        kind: What it is; the kinds are listed in `write_synthetic_release`.
        conversation_id: Where; None for a row of the task and worker tables.
        place: File or table.
        count: How many rows, ticks or turns show it.
        query_id: The turn, if it sits in one.
    """

    kind: str
    conversation_id: str | None
    place: str
    count: int
    query_id: int | None = None


@dataclass
class Truth:
    """The truth of a made-up release.

    Attributes:
        folder: Where it lies.
        settings: The arguments that the release was written with.
        turns: One row per question, also of conversations without behaviour.
        defects: Every defect that was put in.
    """

    folder: Path
    settings: dict[str, Any]
    turns: pl.DataFrame
    defects: list[Defect]

    def scan_ticks(self) -> pl.LazyFrame:
        """Return the true ticks, lazily: one row per uploaded tick in file order."""
        return scan_parquet(sorted((self.folder / "ticks").glob("*.parquet")))

    def ticks(self, conversation_id: str | None = None) -> pl.DataFrame:
        """Return the true ticks of one conversation or of all."""
        frame = self.scan_ticks()
        if conversation_id is not None:
            frame = frame.filter(pl.col("conversation_id") == conversation_id)
        return frame.collect()

    def of(self, kind: str) -> list[Defect]:
        """Return the defects of one kind."""
        return [defect for defect in self.defects if defect.kind == kind]

    def save(self) -> None:
        """Write settings, turns and defects; the ticks are written as they are made."""
        write_parquet(self.folder / "turns.parquet", self.turns)
        facts = {"settings": self.settings, "defects": [asdict(d) for d in self.defects]}
        (self.folder / "truth.json").write_text(json.dumps(facts, indent=1) + "\n")


def read_truth(release: Path) -> Truth:
    """Read back the truth that `write_synthetic_release` left beside a release.

    Args:
        release: The folder that was written.

    Returns:
        The truth.

    Raises:
        SourceError: There is none.
    """
    folder = Path(release) / FOLDER
    try:
        facts = json.loads((folder / "truth.json").read_text())
        turns = read_parquet(folder / "turns.parquet")
    except OSError as error:
        raise SourceError(
            f"{folder}: no truth found ({error.strerror}); expected the folder beside a release "
            "from write_synthetic_release. Write the release again."
        ) from error
    defects = [Defect(**d) for d in facts["defects"]]
    return Truth(folder, facts["settings"], turns, defects)
