"""Sessions and outputs that a URL names: the same tables, and never half of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ifllm_hf import cli
from ifllm_hf.data.marker import is_prepared
from ifllm_hf.data.prepared import elsewhere
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.collected import open_sessions
from ifllm_hf.data.sessions.review import WITHHOLD, write_decisions
from ifllm_hf.data.sessions.session_file import tombstone
from ifllm_hf.errors import ConfigError, OutputError, RemoteError, SourceError
from ifllm_hf.remote_path import RemotePath
from tests.helpers.loopback_hub import LoopbackHub
from tests.helpers.made_up_sessions import write_sessions
from tests.helpers.ranks import Engine, content, in_ranks, rows

HUB = "hf://datasets/lab"


@pytest.fixture
def memory() -> Iterator[str]:
    """A folder in the in-memory store."""
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fs = fsspec.filesystem("memory")
    if fs.exists(url):
        fs.rm(url, recursive=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IFLLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Three sessions, one of them withdrawn, and a decision on a question."""
    folder = tmp_path / "sessions"
    truths = write_sessions(folder, 3, steps=6)
    write_decisions(folder, {open_sessions(folder).waiting[0]: WITHHOLD})
    (folder / "withdrawn.txt").write_text(tombstone(truths[1].session_id) + "\n")
    return folder


@pytest.fixture
def wanted(sessions: Path, tmp_path: Path) -> dict[str, bytes]:
    prepare(sessions, tmp_path / "wanted", progress=False)
    return content(tmp_path / "wanted")


def put(folder: Path, url: str) -> None:
    fsspec.filesystem("memory").put(f"{folder}/", f"{url}/", recursive=True)


def stored(url: str) -> dict[str, bytes]:
    fs = fsspec.filesystem("memory")
    found = fs.find(url)
    top = fs._strip_protocol(url)
    return {name.removeprefix(f"{top}/"): fs.cat_file(name) for name in found}


@pytest.mark.parametrize("inner", ["", "/sessions"])
def test_sessions_are_read_from_a_store(
    sessions: Path, wanted: dict[str, bytes], memory: str, tmp_path: Path, inner: str
) -> None:
    put(sessions, memory + inner)
    report = prepare(memory, tmp_path / "out", progress=False)
    assert content(tmp_path / "out") == wanted
    assert report.ledgers["source_files"]["dropped"] == {"withdrawn": 1}
    assert report.source == memory + inner


def test_sessions_are_read_from_the_hub(
    sessions: Path, wanted: dict[str, bytes], hub: LoopbackHub, tmp_path: Path
) -> None:
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo("lab/raw", repo_type="dataset", private=True)
    api.upload_folder(
        repo_id="lab/raw", repo_type="dataset", folder_path=sessions, path_in_repo="sessions"
    )
    in_ranks(f"{HUB}/raw", tmp_path / "out", 2)
    for config in CONFIGS:
        assert rows(tmp_path / "out", config).equals(rows(tmp_path / "wanted", config)), config
    assert len(open_sessions(f"{HUB}/raw").sessions) == 2


def test_what_was_listed_before_is_not_believed(sessions: Path, memory: str) -> None:
    """Withdrawals and later lines count, whatever fsspec remembers."""
    put(sessions, memory)
    opened = open_sessions(memory)
    more = b"\n".join([b"{}"] * 50)
    for known in opened.sessions:
        path = f"{memory}/{known.session_id}.jsonl"
        fsspec.filesystem("memory").pipe_file(path, RemotePath(path).read_bytes() + more)
    list(opened.conversations())
    assert opened.ledgers()["behavior"]["lines"]["dropped"] == {"torn line": 2, "unknown type": 98}


def test_an_output_goes_to_a_store_whole(
    sessions: Path, wanted: dict[str, bytes], memory: str, cache: Path, tmp_path: Path
) -> None:
    report = prepare(sessions, memory, progress=False)
    assert stored(memory) == wanted
    assert str(report.folder.path) == memory
    assert report.to_dict()["out"] == memory
    put(tmp_path / "wanted", memory)
    fsspec.filesystem("memory").pipe_file(f"{memory}/ticks/train-00001-of-00002.parquet", b"old")
    prepare(sessions, memory, progress=False)
    assert stored(memory) == wanted, "what was there is replaced, all of it"
    assert not (cache / "outputs").exists() or list((cache / "outputs").iterdir()) == []


def test_the_card_is_there_when_all_else_is(
    sessions: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(sessions, memory, progress=False)
    real, seen = RemotePath.put, []

    def watched(self: RemotePath, file: Path) -> None:
        seen.append(("README.md" in stored(memory), len(stored(memory))))
        real(self, file)

    monkeypatch.setattr(RemotePath, "put", watched)
    prepare(sessions, memory, progress=False)
    assert not any(card for card, _ in seen)
    assert [files for _, files in seen] == list(range(1, len(CONFIGS) + 2)), "the card last"


def test_an_upload_that_broke_off_is_made_up_for_by_the_same_command(
    sessions: Path, memory: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_ranks(sessions, memory, 2)
    whole = stored(memory)
    real = RemotePath.put

    def broken(self: RemotePath, file: Path) -> None:
        if self.url.endswith("tasks/train-00001-of-00002.parquet"):
            raise RemoteError("the line went dead")
        real(self, file)

    with monkeypatch.context() as patch:
        patch.setattr(RemotePath, "put", broken)
        with pytest.raises(RemoteError, match="went dead"):
            in_ranks(sessions, memory, 2)
    assert "README.md" not in stored(memory), "no prepared folder for anybody"
    engine = Engine()
    in_ranks(sessions, memory, 2, engine=engine)
    assert engine.ran == [], "the ranks were done"
    assert stored(memory) == whole
    assert list((cache / "outputs").iterdir()) == []


def test_an_output_on_the_hub_is_one_private_commit(
    sessions: Path, wanted: dict[str, bytes], hub: LoopbackHub
) -> None:
    url = f"{HUB}/prepared"
    prepare(sessions, url, progress=False)
    assert wanted.items() <= hub.files("lab/prepared").items()
    repo = hub.repos["datasets", "lab/prepared"]
    assert repo.private, "nobody has reviewed its questions"
    commits = len(repo.commits)
    in_ranks(sessions, url, 2)
    assert len(repo.commits) == commits + 1
    shards = [name for name in hub.files("lab/prepared") if name.startswith("ticks/")]
    assert sorted(shards) == [f"ticks/train-{i:05d}-of-00002.parquet" for i in range(2)]


def test_a_public_repository_gets_no_unreviewed_question(sessions: Path, hub: LoopbackHub) -> None:
    from huggingface_hub import HfApi

    HfApi().create_repo("lab/open", repo_type="dataset", private=False)
    with pytest.raises(ConfigError, match="is public already, and 3 questions"):
        prepare(sessions, f"{HUB}/open", progress=False)
    assert hub.files("lab/open") == {}


def test_a_place_of_somebody_is_refused_before_any_work(
    sessions: Path, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec.filesystem("memory").pipe_file(f"{memory}/thesis.tex", b"years of work")
    engine = Engine()
    for write in (
        lambda: prepare(sessions, memory, progress=False),
        lambda: in_ranks(sessions, memory, 2, engine=engine),
    ):
        with pytest.raises(OutputError, match="not a prepared folder"):
            write()
    assert engine.ran == [] and stored(memory) == {"thesis.tex": b"years of work"}
    fsspec.filesystem("memory").rm(f"{memory}/thesis.tex")
    prepare(sessions, memory, progress=False)
    fsspec.filesystem("memory").pipe_file(f"{memory}/thesis.tex", b"years of work")
    with pytest.raises(OutputError, match=r"besides prepared data it holds thesis\.tex"):
        prepare(sessions, memory, progress=False)


def test_two_runs_into_one_place_are_refused(sessions: Path, memory: str) -> None:
    with (
        elsewhere.place_to_write(memory) as here,
        pytest.raises(OutputError, match="another run is writing it"),
    ):
        prepare(sessions, here, progress=False)
        prepare(sessions, memory, progress=False)


def test_without_credentials_one_line_says_what_to_set(
    sessions: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepare(sessions, f"{HUB}/secret", progress=False)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with pytest.raises(SourceError, match=r"no session file.*hf auth login.*HF_TOKEN"):
        prepare(f"{HUB}/secret", tmp_path / "out", progress=False)
    with pytest.raises(OutputError, match="HF_TOKEN"):
        prepare(sessions, f"{HUB}/new", progress=False)
    assert not (tmp_path / "out").exists()


class _Store:
    """A store that answers as some do."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        raise self.error


class NoCredentialsError(Exception):
    """As botocore calls it."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoCredentialsError("Unable to locate credentials"), r"\$AWS_ACCESS_KEY_ID"),
        (PermissionError("Access Denied"), r"\$AWS_ACCESS_KEY_ID"),
        (ImportError("Install s3fs to access S3"), "needs a package that is not installed.*s3fs"),
        (TimeoutError("timed out"), "TimeoutError: timed out"),
    ],
)
def test_what_a_store_says_is_one_line(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(RemotePath, "_opened", (_Store(error), "bucket/sessions"))
    for write in (
        lambda: prepare("s3://bucket/sessions", tmp_path / "out"),
        lambda: prepare(tmp_path, "s3://bucket/sessions"),
    ):
        with pytest.raises(RemoteError, match=f"^s3://bucket/sessions: .*{said}"):
            write()


@pytest.mark.parametrize("url", ["memory://", "memory:///", "s3://"])
def test_a_url_that_names_no_folder_is_refused(
    url: str, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for write in (
        lambda: prepare(sessions, url, progress=False),
        lambda: prepare(url, tmp_path / "out", progress=False),
    ):
        with pytest.raises(RemoteError, match="names no folder"):
            write()
    assert list(tmp_path.iterdir()) == [sessions], "no folder 'memory:' here"


def test_the_command_takes_urls(
    sessions: Path, memory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(sessions, f"{memory}/in")
    order = ["prepare", f"{memory}/in", "--out", f"{memory}/out", "--json"]
    assert cli.main(order) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["out"] == f"{memory}/out"
    assert f'load_dataset("{memory}/out")' in err
    assert cli.main([*order, "--tasks", "2", "--workers", "1"]) == 0
    assert "pairwise/train-00001-of-00002.parquet" in stored(f"{memory}/out")
    assert cli.main(["prepare", "nonsense://x", "--out", f"{memory}/out"]) == 1
    assert "fsspec does not know" in capsys.readouterr().err
    assert not is_prepared(memory)


def test_a_file_url_is_a_place_here(
    sessions: Path, wanted: dict[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "here"
    for ranks in ([], ["--tasks", "1", "--workers", "1"]):
        order = ["prepare", sessions.as_uri(), "--out", out.as_uri(), *ranks]
        assert cli.main(order) == 0
        assert content(out) == wanted
    assert caplog.text == "", "withdrawals reach it"
