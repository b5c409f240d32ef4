"""`load_dataset("ifllm")` in both ways: beside a prepared folder, and through the builder."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import get_dataset_config_names, get_dataset_split_names, load_dataset

import ifllm_hf  # noqa: F401  (makes the name known)
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared.folder import with_card_metadata
from ifllm_hf.data.prepared.ifllm import find_source, fingerprint
from ifllm_hf.data.schema import CONFIGS, SCHEMAS, TURN_TICK_COLUMNS, features
from ifllm_hf.data.ticks.tick_arrays import ticks_to_numpy
from ifllm_hf.errors import ConfigError, DataError, SourceError, TableError
from tests.helpers import prepared_folder
from tests.helpers.fresh_process import python
from tests.helpers.made_up_sessions import write_sessions

ROOT = Path(__file__).parents[3]
N_ROWS = {
    "pairwise": 4, "pointwise": 2, "turns": 6, "ticks": 3, "preferences": 1, "tasks": 1,
        "workers": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared") / "ifllm"
    prepared_folder.write(folder, shard_bytes=1)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, with an empty cache and without a release in the environment."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("IFLLM_RELEASE", raising=False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return place


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Stand in for the reader: every source becomes the example. Returns the sources it got."""
    sources: list[str | None] = []

    def write(source: str | None, out: Path, *, progress: bool = True) -> Any:
        sources.append(source)
        prepared_folder.write(out, shard_bytes=1)
        return SimpleNamespace(left_out=lambda: None)

    module = ModuleType("ifllm_hf.data.prepared.prepare")
    module.prepare = write  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ifllm_hf.data.prepared.prepare", module)
    return sources


# --- through the builder, in this process


@pytest.mark.parametrize("config", CONFIGS)
def test_every_config_loads_with_its_features(config: str, prepared: Path) -> None:
    loaded = load_dataset("ifllm", config, data_dir=str(prepared))
    assert list(loaded) == ["train"]
    assert loaded["train"].features == features(config)
    assert loaded["train"].num_rows == N_ROWS[config]
    assert loaded["train"].builder_name == "ifllm"


def test_default_config_is_pairwise_with_values_as_written(prepared: Path) -> None:
    rows = load_dataset("ifllm", split="train", data_dir=str(prepared))
    assert rows["query_id"] == [11, 12, 13, 31]
    assert rows["preference"] == ["a", "b", None, None]
    assert rows[0]["file_row"] == [1, 2, 3, 6, 7]
    assert rows[0]["gaze_on"] == ["a", "b", "a", "a", "a"]
    assert rows[0]["gaze_char"] == [None, 2, None, 6, None]
    assert rows[2]["t_ms"] == []
    assert rows[1]["history_a"][1] == {"role": "assistant", "content": "Grüße 🙂"}
    assert rows[0]["asked_at"].isoformat() == "2025-10-01T12:01:00+00:00"


def test_a_folder_of_other_content_is_not_taken_from_the_cache(tmp_path: Path) -> None:
    # `datasets` knows a local folder by its name and its card, not by its Parquet files.
    for rows in (3, 2):
        folder = tmp_path / str(rows) / "ifllm"
        prepared_folder.write(folder)
        (shard,) = (folder / "pairwise").glob("*.parquet")
        pq.write_table(pq.read_table(shard).slice(0, rows), shard)
        card = folder / "README.md"
        card.write_text(with_card_metadata(card.read_text(), folder))
        assert load_dataset(str(folder), split="train").num_rows == rows


def test_slices_and_percentages(prepared: Path) -> None:
    assert load_dataset("ifllm", split="train[:3]", data_dir=str(prepared)).num_rows == 3
    half = load_dataset("ifllm", split="train[50%:]", data_dir=str(prepared))
    assert half["query_id"] == [13, 31]


def test_two_processes_give_the_same_rows(prepared: Path, tmp_path: Path) -> None:
    two = load_dataset("ifllm", "ticks", split="train", data_dir=str(prepared), num_proc=2)
    one = load_dataset(
        "ifllm", "ticks", split="train", data_dir=str(prepared), cache_dir=str(tmp_path / "other")
    )
    assert two.to_list() == one.to_list()


@pytest.mark.parametrize("config", CONFIGS)
def test_streaming_gives_the_same_rows(config: str, prepared: Path) -> None:
    stream = load_dataset("ifllm", config, split="train", data_dir=str(prepared), streaming=True)
    rows = load_dataset("ifllm", config, split="train", data_dir=str(prepared))
    assert list(stream) == rows.to_list()
    assert list(stream.take(1)) == rows.to_list()[:1]


def test_streams_can_be_dealt_out_to_workers(prepared: Path) -> None:
    stream = load_dataset("ifllm", "ticks", split="train", data_dir=str(prepared), streaming=True)
    assert stream.num_shards == 3


def test_only_the_wanted_columns_are_loaded(prepared: Path) -> None:
    wanted = ["t_ms", "query_id"]
    rows = load_dataset("ifllm", split="train", data_dir=str(prepared), columns=wanted)
    assert rows.column_names == ["query_id", "t_ms"]
    with pytest.raises(ConfigError, match="'workers' .*'t_ms'.*user_id"):
        load_dataset("ifllm", "workers", data_dir=str(prepared), columns=["t_ms"])


def test_names_of_configs_and_splits(prepare: list[str | None]) -> None:
    assert get_dataset_config_names("ifllm") == list(CONFIGS)
    assert prepare == []  # asking for names reads nothing
    assert datasets.get_dataset_default_config_name("ifllm") == "pairwise"
    assert get_dataset_split_names("ifllm", "ticks") == ["train"]
    builder = datasets.load_dataset_builder("ifllm", "tasks")
    assert builder.info.features == features("tasks")


def test_unknown_config_lists_those_there_are(prepared: Path) -> None:
    with pytest.raises(ValueError, match=r"'pairs' not found.*pairwise"):
        load_dataset("ifllm", "pairs", data_dir=str(prepared))


# --- where the data comes from


def test_release_is_prepared_once_for_all_configs(
    prepare: list[str | None], tmp_path: Path
) -> None:
    release = tmp_path / "release.tar.xz"
    release.write_bytes(b"one")
    for config in ("pairwise", "ticks", "pairwise"):
        loaded = load_dataset("ifllm", config, data_dir=str(release))
        assert loaded["train"].num_rows == N_ROWS[config]
    assert prepare == [str(release)]


def test_changed_release_is_prepared_again(prepare: list[str | None], tmp_path: Path) -> None:
    release = tmp_path / "release"
    (release / "user_behavior").mkdir(parents=True)
    table = release / "user_behavior" / "x.csv"
    table.write_bytes(b"one")
    load_dataset("ifllm", data_dir=str(release))
    table.write_bytes(b"other")
    load_dataset("ifllm", data_dir=str(release))
    assert prepare == [str(release)] * 2


def test_force_redownload_prepares_again(prepare: list[str | None]) -> None:
    load_dataset("ifllm")
    load_dataset("ifllm", download_mode="force_redownload")
    assert prepare == [None, None]


def test_argument_beats_folder_here_beats_environment_beats_download(
    prepare: list[str | None], prepared: Path, elsewhere: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    argument, variable = tmp_path / "argument.zip", tmp_path / "variable.zip"
    argument.touch(), variable.touch()
    assert find_source(None) is None
    monkeypatch.setenv("IFLLM_RELEASE", str(variable))
    assert find_source(None) == str(variable)
    (elsewhere / "ifllm").mkdir()
    assert find_source(None) == str(variable)  # just a folder of that name
    (elsewhere / "ifllm").rmdir()
    (elsewhere / "ifllm").symlink_to(prepared)
    assert find_source(None) == str(elsewhere / "ifllm")
    assert find_source(str(argument)) == str(argument)
    assert load_dataset("ifllm")["train"].num_rows == 4
    assert prepare == []


def test_interrupted_preparation_leaves_no_folder_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, prepare: list[str | None]
) -> None:
    def interrupted(source: str | None, out: Path, *, progress: bool = True) -> None:
        raise KeyboardInterrupt

    module = sys.modules["ifllm_hf.data.prepared.prepare"]
    good = module.prepare
    monkeypatch.setattr(module, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("ifllm")
    assert not any(is_prepared(p) for p in (tmp_path / "cache").rglob("ifllm"))
    monkeypatch.setattr(module, "prepare", good)
    assert load_dataset("ifllm")["train"].num_rows == 4


def test_missing_place_says_who_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match=r"nowhere: .*data_dir='nowhere'"):
        load_dataset("ifllm", data_dir="nowhere")
    monkeypatch.setenv("IFLLM_RELEASE", "/not/there")
    with pytest.raises(SourceError, match=r"/not/there: .*\$IFLLM_RELEASE"):
        load_dataset("ifllm")


def test_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    prepared_folder.write(tmp_path / "old")
    card = tmp_path / "old" / "README.md"
    card.write_text(re.sub(r"ifllm_prepared: \d+", "ifllm_prepared: 99", card.read_text()))
    with pytest.raises(TableError, match="schema version 99"):
        load_dataset("ifllm", data_dir=str(tmp_path / "old"))


def test_an_older_folder_by_its_path_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepared_folder.write(tmp_path / "old")
    load_dataset(str(tmp_path / "old"), "preferences")
    assert "ifllm prepare" not in caplog.text
    card = tmp_path / "old" / "README.md"
    head = re.sub(r"- config_name: turns\n(  .*\n)+", "", card.read_text())
    card.write_text(head)
    shutil.rmtree(tmp_path / "old" / "turns")
    with pytest.raises(ValueError, match="BuilderConfig 'turns' not found"):
        load_dataset(str(tmp_path / "old"), "turns")
    assert "configs missing: turns). Run `ifllm prepare` again" in caplog.text


def test_data_files_and_revision_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes no data_files"):
        load_dataset("ifllm", data_files="x.parquet")
    with pytest.raises(ConfigError, match="has no revision 'v2'"):
        load_dataset("ifllm", revision="v2")


def test_fingerprint_follows_names_sizes_and_times(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    seen = {fingerprint(None), fingerprint(str(tmp_path))}
    file.write_bytes(b"1")
    seen.add(fingerprint(str(tmp_path)))
    assert fingerprint(str(tmp_path)) in seen
    os.utime(file, ns=(1, 1))
    seen.add(fingerprint(str(tmp_path)))
    file.write_bytes(b"22")
    os.utime(file, ns=(1, 1))
    seen.add(fingerprint(str(tmp_path)))
    file.rename(tmp_path / "b.csv")
    seen.add(fingerprint(str(tmp_path)))
    assert len(seen) == 6


def test_other_names_are_untouched(tmp_path: Path, elsewhere: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    assert load_dataset("csv", data_files=str(tmp_path / "a.csv"))["train"]["x"] == [1]
    prepared_folder.write(elsewhere / "ifllm")
    assert load_dataset("./ifllm")["train"].builder_name == "parquet"
    assert load_dataset("ifllm")["train"].builder_name == "ifllm"


# --- all ticks as numpy


def test_ticks_to_numpy_gives_flat_columns_with_offsets(prepared: Path) -> None:
    rows = load_dataset("ifllm", split="train", data_dir=str(prepared))
    ticks = ticks_to_numpy(rows)
    assert list(ticks.columns) == list(TURN_TICK_COLUMNS)
    assert ticks.offsets.tolist() == [0, 5, 8, 8, 8]
    assert ticks["file_row"].tolist() == [1, 2, 3, 6, 7, 4, 5, 8]
    assert ticks["file_row"].dtype == np.int32
    assert ticks["gaze_char"].tolist() == [-1, 2, -1, 6, -1, 4, -1, 8]
    assert ticks["camera_ok"].tolist() == [0, -1, 1, 1, 0, 0, -1, -1]
    assert np.isnan(ticks["mouse_x_px"]).all()
    assert [ticks.categories["gaze_on"][code] for code in ticks["gaze_on"]] == list("abaaaaaa")
    assert ticks["gaze_on"].dtype == np.int8
    assert ticks.row(1)["file_row"].tolist() == [4, 5, 8]


def test_ticks_to_numpy_follows_selections_and_formats(prepared: Path) -> None:
    rows = load_dataset("ifllm", split="train", data_dir=str(prepared)).with_format("numpy")
    assert ticks_to_numpy(rows.select([3, 1]), ["t_ms"])["t_ms"].tolist() == [202.0, 252.5, 404.0]
    assert ticks_to_numpy(rows.select([])).offsets.tolist() == [0]
    whole = load_dataset("ifllm", "ticks", split="train", data_dir=str(prepared))
    assert ticks_to_numpy(whole, ["gaze_window", "query_id"])["query_id"][:2].tolist() == [-1, 11]
    assert "gaze_window" not in ticks_to_numpy(whole).columns


def test_ticks_to_numpy_refuses_what_is_no_tick_column(prepared: Path) -> None:
    rows = load_dataset("ifllm", split="train", data_dir=str(prepared))
    with pytest.raises(DataError, match=r"\['prompt'\] .*page_load"):
        ticks_to_numpy(rows, ["prompt"])
    wrong = rows.select([0]).map(lambda row: {"gaze_on": ["left"] * 5})
    with pytest.raises(DataError, match="'gaze_on' holds 5 values"):
        ticks_to_numpy(wrong)


# --- fresh processes, without network

ANSWER = """
import json, sys
{imports}
rows = load_dataset("ifllm", split="train")
ticks = load_dataset("ifllm", "ticks", split="train", streaming=True)
from datasets import get_dataset_config_names
print(json.dumps([rows.builder_name, list(rows["query_id"]), [t["conversation_id"] for t in ticks],
                  get_dataset_config_names("ifllm")]))
"""
DATASETS_FIRST = "from datasets import load_dataset\nimport ifllm_hf"
OURS_FIRST = (
    "import ifllm_hf\nassert 'datasets' not in sys.modules\nfrom datasets import load_dataset"
)
PLAIN = "from datasets import load_dataset"


@pytest.mark.parametrize("imports", [DATASETS_FIRST, OURS_FIRST], ids=["datasets", "ours"])
def test_builder_in_a_fresh_process_in_either_import_order(
    imports: str, prepared: Path, elsewhere: Path, tmp_path: Path
) -> None:
    script = ANSWER.format(imports=imports)
    answer = python(script, elsewhere, tmp_path, IFLLM_RELEASE=str(prepared))
    assert answer == ["ifllm", [11, 12, 13, 31], list(prepared_folder.TICKS_OF), list(CONFIGS)]


def test_plain_load_beside_the_folder_needs_no_import_of_ours(
    elsewhere: Path, tmp_path: Path
) -> None:
    prepared_folder.write(elsewhere / "ifllm", shard_bytes=1)
    script = ANSWER.format(imports=PLAIN)
    answer = python(script, elsewhere, tmp_path)
    assert answer == ["parquet", [11, 12, 13, 31], list(prepared_folder.TICKS_OF), list(CONFIGS)]


def test_a_config_without_rows_is_empty(tmp_path: Path) -> None:
    few = str(tmp_path / "few")
    prepared_folder.write(tmp_path / "few", conversations=[])
    ours = load_dataset("ifllm", "ticks", data_dir=few)["train"]
    assert len(ours) == 0 and ours.features == features("ticks")
    for where in ({"path": few}, {"path": "ifllm", "data_dir": few}):
        assert list(load_dataset(**where, name="ticks", split="train", streaming=True)) == []
    (shard,) = (tmp_path / "few" / "ticks").iterdir()
    assert pq.read_metadata(shard).num_row_groups == 0, "what `datasets` cannot read"


def test_both_ways_give_the_same_columns(prepared: Path) -> None:
    for config in CONFIGS:
        plain = load_dataset(str(prepared), config, split="train")
        ours = load_dataset("ifllm", config, split="train", data_dir=str(prepared))
        assert plain.features == ours.features
        assert plain.to_list() == ours.to_list()
        assert plain.features.arrow_schema.equals(SCHEMAS[config])


def test_the_cache_forgets_who_has_withdrawn(tmp_path: Path) -> None:
    """The Arrow files and the prepared folder of the sessions as they were are gone."""
    sessions, other = tmp_path / "sessions", tmp_path / "other"
    gone, _ = write_sessions(sessions, 2, turns=1, steps=4)
    write_sessions(other, 1, seed=9, turns=1, steps=4)
    cache = tmp_path / "cache"

    def load(folder: Path, config: str) -> Any:
        return load_dataset(
            "ifllm", config, data_dir=str(folder), split="train", cache_dir=str(cache)
        )

    def copies(text: str) -> int:
        needle = text.encode()
        return sum(needle in path.read_bytes() for path in cache.rglob("*.arrow"))

    assert len(load(sessions, "pairwise")) == 2 and len(load(other, "pairwise")) == 1
    answer = gone.answers[0][0]
    prepared = list(cache.glob("ifllm_prepared/*/ifllm"))
    assert copies(answer) == 1 and len(prepared) == 2
    gone.path.unlink()
    assert len(load(sessions, "preferences")) == 1  # any config will do
    assert copies(answer) == 0
    assert len(list(cache.glob("ifllm_prepared/*/ifllm"))) == 2
    left = load(other, "pairwise")
    assert len(left) == 1 and copies(left[0]["response_a"]) == 1
