"""A dataset that grew by one session is pushed again: how many bytes are new?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ifllm_hf.data.prepared.folder import write_prepared
from ifllm_hf.data.recordings import ConversationRows
from ifllm_hf.data.schema import CONFIGS, TICKS
from ifllm_hf.hub.publish.dataset import push_dataset
from tests.helpers import prepared_folder
from tests.helpers.hub.xet_store import XetStore

REPO = "lab/grows"
SESSIONS, TICKS_EACH = 40, 6000


def conversations() -> Iterator[ConversationRows]:
    for i in range(SESSIONS + 1):
        rng = np.random.default_rng(i)
        columns: dict[str, Any] = {name: [None] * TICKS_EACH for name in TICKS.names}
        columns |= {
            "conversation_id": [f"reader_{i}/1"] * TICKS_EACH,
            "page_load": np.zeros(TICKS_EACH),
            "file_row": np.arange(TICKS_EACH),
            "t_ms": np.cumsum(rng.uniform(20, 60, TICKS_EACH)),
            "gaze_x_px": rng.uniform(0, 900, TICKS_EACH),
            "mouse_x_px": rng.uniform(0, 900, TICKS_EACH),
        }
        table = pa.table(
            {f.name: pa.array(columns[f.name], f.type, safe=False) for f in TICKS}, schema=TICKS
        )
        yield ConversationRows(f"reader_{i}/1", f"reader_{i}", 1, "pairwise", 0, table, {})


def pushed(hub: Any, place: Path, sessions: list[ConversationRows]) -> list[Path]:
    """Prepare and push sessions; return the Parquet files that the Hub has then."""
    tables = {**prepared_folder.tables(), "conversations": sessions}
    push_dataset(write_prepared(place / "ifllm", **tables).path, REPO)
    for name, content in hub.files(REPO).items():
        (place / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "hub" / name).write_bytes(content)
    return sorted((place / "hub").rglob("*.parquet"))


def test_what_was_there_is_not_sent_again(
    hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    write = pq.ParquetWriter

    def without_chunking(*given: Any, **options: Any) -> pq.ParquetWriter:
        return write(*given, **{**options, "use_content_defined_chunking": False})

    sessions = list(conversations())
    new = {}
    for how in ("by content", "by number"):
        if how == "by number":
            monkeypatch.setattr(pq, "ParquetWriter", without_chunking)
        store = XetStore(tmp_path / how)
        first = store.push(pushed(hub, tmp_path / how / "1", sessions[:-1]))
        assert first.new > 0.9 * first.total
        second = store.push(pushed(hub, tmp_path / how / "2", sessions))
        new[how] = second.new / second.total
    assert new["by content"] < 0.25
    assert new["by content"] < new["by number"] / 2


def test_every_file_has_an_index_of_its_pages(tmp_path: Path) -> None:
    folder = prepared_folder.write(tmp_path / "ifllm").path
    for config in CONFIGS:
        (file,) = (folder / config).iterdir()
        columns = pq.ParquetFile(file).metadata.row_group(0)
        assert all(columns.column(i).has_offset_index for i in range(columns.num_columns))
