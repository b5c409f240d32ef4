"""Which checkpoint of a run was written to its end, hence can be gone on from."""

from __future__ import annotations

import json
from pathlib import Path


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end; a full disk or a kill leaves others."""
    try:
        # The last file of a checkpoint.
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint of an output folder, None without any."""
    whole = [place for place in folder.glob("checkpoint-*") if is_whole(place)]
    return max(whole, key=lambda place: int(place.name.rsplit("-", 1)[1]), default=None)
