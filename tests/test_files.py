from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ifllm_hf import files
from ifllm_hf.errors import ConfigError, OutputError


def no_room(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_the_block_wrote_becomes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "x.txt"
    with files.whole_file(path) as aside:
        aside.write_text("half")
        assert not path.exists()
        aside.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["x.txt"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt])
def test_an_old_file_stays_when_the_block_fails(tmp_path: Path, fault: type[Exception]) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(fault), files.whole_file(path) as aside:
        aside.write_text("new")
        raise fault
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("failing", ["write_bytes", "replace", "mkdir"])
def test_a_full_disk_is_an_output_error_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"old": 1})
    monkeypatch.setattr(Path, failing, no_room)
    with pytest.raises(OutputError, match=r"x\.json.*No space left"):
        files.write_json(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_two_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    texts = [letter * 200_000 for letter in "ab"] * 20
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: files.write_whole(path, text), texts))
    assert path.read_text() in texts
    assert os.listdir(tmp_path) == ["x"]


def test_text_bytes_json_and_tables(tmp_path: Path) -> None:
    files.write_whole(tmp_path / "text", "ü\n")
    files.write_whole(tmp_path / "bytes", b"\xc3\xbc\n")
    assert (tmp_path / "text").read_bytes() == (tmp_path / "bytes").read_bytes()
    files.write_json(tmp_path / "x.json", {"b": Path("p"), "a": 1})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": 1,\n  "b": "p"\n}\n'
    table = pl.DataFrame({"x": [1, 2]})
    files.write_parquet(tmp_path / "x.parquet", table)
    assert pl.read_parquet(tmp_path / "x.parquet").equals(table)


def test_a_table_comes_back_as_it_was_with_an_index_of_its_pages(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    table = pl.DataFrame(
        {
            "text": ["ü", None, ""],
            "numbers": [[1, 2], [], None],
            "when": pl.Series([0, 1, None], dtype=pl.Datetime("us", "UTC")),
            "kind": pl.Series(["a", "b", None], dtype=pl.Categorical),
            "small": pl.Series([1, None, -1], dtype=pl.Int8),
            "past": [[{"role": "user", "content": "x"}], [], None],
            "nothing": pl.Series([None] * 3, dtype=pl.Null),
        }
    )
    files.write_parquet(tmp_path / "x.parquet", table)
    back = pl.read_parquet(tmp_path / "x.parquet")
    assert back.schema == table.schema and back.equals(table)
    columns = pq.ParquetFile(tmp_path / "x.parquet").metadata.row_group(0)
    assert all(columns.column(i).has_offset_index for i in range(columns.num_columns))


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for name in ("one", "two"):
        with files.whole_folder(out) as folder:
            (folder / name).touch()
        assert os.listdir(out) == [name]
    assert os.listdir(out.parent) == ["out"]


@pytest.mark.parametrize("fault", [ValueError, OSError, KeyboardInterrupt])
def test_an_old_folder_stays_when_the_block_fails(tmp_path: Path, fault: type[Exception]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    expected = OutputError if fault is OSError else fault
    with pytest.raises(expected), files.whole_folder(out) as folder:
        (folder / "new").touch()
        raise fault
    assert os.listdir(out) == ["old"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_folder_is_replaced_and_what_it_names_stays(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to("x")
    with files.whole_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "x"]
    assert list((tmp_path / "x").iterdir()) == [] and (tmp_path / "link" / "new").exists()


def test_an_old_folder_is_back_when_the_last_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        return no_room() if self.suffix == ".tmp" else rename(self, target)  # type: ignore[return-value]

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OutputError, match="No space left"), files.whole_folder(out):
        pass
    assert os.listdir(out) == ["old"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    assert files.check_free(str(tmp_path / "free"), overwrite=False) == tmp_path / "free"
    (tmp_path / "taken").touch()
    with pytest.raises(OutputError, match="exists already"):
        files.check_free(tmp_path / "taken", overwrite=False)
    assert files.check_free(tmp_path / "taken", overwrite=True) == tmp_path / "taken"
    with pytest.raises(OutputError, match="folder"):
        files.check_free(tmp_path, overwrite=True)


def test_a_digest_is_the_sha256_of_bytes_text_or_json() -> None:
    whole = hashlib.sha256("ü".encode()).hexdigest()
    assert files.digest("ü") == files.digest("ü".encode()) == whole
    assert files.digest("ü", 12) == whole[:12]
    one = hashlib.sha256(b'{"a": 1, "b": [2]}').hexdigest()
    assert files.digest({"b": (2,), "a": 1}) == files.digest({"a": 1, "b": [2]}) == one


def test_a_lock_that_another_process_holds_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x"
    script = (
        "import sys; from pathlib import Path; from ifllm_hf import files\n"
        "try:\n"
        "    with files.held(Path(sys.argv[1]), 'somebody is here'): print('free')\n"
        "except files.OutputError as error: print(error)\n"
    )

    def other() -> str:
        command = [sys.executable, "-c", script, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    with files.held(path, "never said"):
        assert other() == "somebody is here"
    assert other() == "free"


def test_a_lock_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "x"
    with pytest.raises(OutputError, match="cannot be written"), files.held(place, "busy"):
        pass


def test_shipped_folders_are_in_the_package_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ifllm_hf"
    monkeypatch.setattr(files, "package_folder", lambda: package)
    with pytest.raises(ConfigError, match="recipes"):
        files.shipped_folder("recipes")
    (tmp_path / "recipes").mkdir()
    assert files.shipped_folder("recipes") == tmp_path / "recipes"
    (package / "recipes").mkdir(parents=True)
    assert files.shipped_folder("recipes") == package / "recipes"


def test_a_full_disk_is_one_line_for_parquet_too(tmp_path: Path) -> None:
    """As on a full disk: a write beyond the limit fails inside polars, which says so in its way."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import numpy as np, polars as pl\n"
        "from ifllm_hf.errors import OutputError\n"
        "from ifllm_hf.files import write_parquet\n"
        "table = pl.DataFrame({'x': np.random.default_rng(0).random(200_000)})\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    write_parquet(Path('t.parquet'), table)\n"
        "except OutputError as error:\n"
        "    sys.exit(str(error))\n"
    )
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.startswith("t.parquet: cannot be written")
    assert list(tmp_path.iterdir()) == []
