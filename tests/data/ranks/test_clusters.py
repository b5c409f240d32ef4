"""Ranks of several machines: what they exchange, and what is handed to Ray, Slurm and Jobs."""

from __future__ import annotations

import json
import shlex
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from ifllm_hf import cli
from ifllm_hf.data.prepared.folder import working_folder
from ifllm_hf.data.ranks.clusters import find_engine
from ifllm_hf.data.ranks.engines import engine_for
from ifllm_hf.data.ranks.exchange import exchanging, run_rank_at
from ifllm_hf.data.ranks.listing import LISTING
from ifllm_hf.data.ranks.one_rank import main
from ifllm_hf.errors import ConfigError, UnfinishedError
from ifllm_hf.remote_path import RemotePath
from tests.helpers.made_up_sessions import write_sessions
from tests.helpers.ranks import content, in_ranks


@pytest.fixture
def exchange() -> Iterator[str]:
    url = f"memory://{uuid.uuid4().hex}"
    yield url
    fs = fsspec.filesystem("memory")
    if fs.exists(url):
        fs.rm(url, recursive=True)


@pytest.fixture
def here(sessions: Path, tmp_path: Path) -> dict[str, bytes]:
    """What ranks on one disk give."""
    in_ranks(sessions, tmp_path / "here", 3)
    return content(tmp_path / "here")


def left_in(exchange: str) -> list[str]:
    return fsspec.filesystem("memory").find(exchange)


def test_ranks_come_from_an_exchange(
    sessions: Path, here: dict[str, bytes], exchange: str, tmp_path: Path
) -> None:
    in_ranks(sessions, tmp_path / "out", 3, engine=find_engine(workers=1, exchange=exchange))
    assert content(tmp_path / "out") == here
    assert left_in(exchange) == [], "what readers did is not left lying about"


def test_what_is_in_the_exchange_is_not_done_again(
    sessions: Path, here: dict[str, bytes], exchange: str, tmp_path: Path
) -> None:
    def machines(work: Path, ranks: list[int], done: object) -> None:
        run_rank_at(RemotePath(exchange), 0)
        shards = RemotePath(exchange) / "ranks" / "00001-half" / "ticks"
        (shards / "train-00000-of-00001.parquet").write_bytes(b"half")
        raise KeyboardInterrupt  # here, while they go on elsewhere

    with pytest.raises(KeyboardInterrupt):
        in_ranks(sessions, tmp_path / "out", 3, engine=exchanging(exchange, machines))
    run_rank_at(RemotePath(exchange), 2)  # went on
    ran: list[list[int]] = []

    def rest(work: Path, ranks: list[int], done: object) -> None:
        ran.append(ranks)
        run_rank_at(RemotePath(exchange), 1)

    in_ranks(sessions, tmp_path / "out", 3, engine=exchanging(exchange, rest))
    assert ran == [[1]]
    assert content(tmp_path / "out") == here
    assert left_in(exchange) == [], "nor what a killed rank has left"


def test_an_exchange_writes_nothing_but_shards_of_ranks(
    sessions: Path, here: dict[str, bytes], exchange: str, tmp_path: Path
) -> None:
    def machines(work: Path, ranks: list[int], done: object) -> None:
        for rank in ranks:
            run_rank_at(RemotePath(exchange), rank)
        record = RemotePath(exchange) / "ranks" / "00001.json"
        known = json.loads(record.read_bytes())
        known["files"]["../../../../evil"] = "0" * 64
        record.write_bytes(json.dumps(known).encode())

    with pytest.raises(UnfinishedError, match="rank 1 is not done"):
        in_ranks(sessions, tmp_path / "out", 3, engine=exchanging(exchange, machines))
    assert not list(tmp_path.rglob("evil"))


def test_a_rank_of_another_listing_is_not_taken(
    sessions: Path, here: dict[str, bytes], exchange: str, tmp_path: Path
) -> None:
    def one(work: Path, ranks: list[int], done: object) -> None:
        engine_for(1)(work, ranks, lambda _: None)
        for file in work.rglob("*"):
            if file.is_file() and file.name != "run.lock":
                (RemotePath(exchange) / file.relative_to(work).as_posix()).put(file)

    in_ranks(sessions, tmp_path / "old", 3, engine=one)
    assert len(left_in(exchange)) > 3
    in_ranks(sessions, tmp_path / "out", 3, engine=find_engine(workers=1, exchange=exchange))
    assert content(tmp_path / "out") == here
    assert left_in(exchange) == []


def test_a_rank_by_itself_ends_in_one_line(
    exchange: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == main(["x", "y"]) == 2
    assert "usage" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), "3"]) == 1
    assert f"rank 3: {tmp_path / 'nowhere' / LISTING}" in capsys.readouterr().err
    assert main([exchange, "3"]) == 1
    assert capsys.readouterr().err.startswith("rank 3: ")


def test_slurm_gets_a_script_and_its_ranks_are_joined(
    sessions: Path, here: dict[str, bytes], tmp_path: Path
) -> None:
    pytest.importorskip("datatrove")
    settings = {"partition": "cpu", "time": "1:00:00", "sbatch_args": {"account": "lab"}}
    engine = find_engine("slurm", 2, settings=settings)
    with pytest.raises(UnfinishedError, match="dry run.*sbatch"):
        in_ranks(sessions, tmp_path / "out", 3, engine=engine)
    script = (working_folder(tmp_path / "out") / "slurm" / "launch.sh").read_text()
    for line in ("partition=cpu", "time=1:00:00", "account=lab", "array=0,1,2%2"):
        assert f"#SBATCH --{line}\n" in script
    (command,) = [line for line in script.splitlines() if "one_rank" in line]
    for rank in range(3):
        words = shlex.split(command.replace("$SLURM_ARRAY_TASK_ID", str(rank)))
        assert words[-4:-2] == ["-m", "ifllm_hf.data.ranks.one_rank"]
        assert main(words[-2:]) == 0
    in_ranks(sessions, tmp_path / "out", 3, engine=engine)
    assert content(tmp_path / "out") == here


def test_jobs_get_settings_and_no_token(
    sessions: Path, here: dict[str, bytes], exchange: str, tmp_path: Path
) -> None:
    pytest.importorskip("datatrove")
    settings = {"flavor": "cpu-upgrade", "token": "hf_secret", "timeout": "2h"}
    engine = find_engine("jobs", 2, exchange=exchange, settings=settings)
    with pytest.raises(UnfinishedError, match="dry run"):
        in_ranks(sessions, tmp_path / "out", 3, engine=engine)
    text = (working_folder(tmp_path / "out") / "jobs.json").read_text()
    plan = json.loads(text)
    assert "hf_secret" not in text
    assert (plan["flavor"], plan["workers"], plan["world_size"]) == ("cpu-upgrade", 2, 3)
    assert plan["pipeline"] == [f"RankStep({exchange!r}, [0, 1, 2])"]
    for rank in range(3):
        assert main([exchange, str(rank)]) == 0
    in_ranks(sessions, tmp_path / "out", 3, engine=engine)
    assert content(tmp_path / "out") == here


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("removed", [False, True])
def test_ray_runs_ranks_on_two_nodes_also_if_one_goes(removed: bool, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="`make ray-test` fetches it; the tests do without")
    from ray.cluster_utils import Cluster

    tasks = 30
    write_sessions(tmp_path / "sessions", tasks, steps=300)
    in_ranks(tmp_path / "sessions", tmp_path / "here", tasks)
    work = working_folder(tmp_path / "out")
    left: list[int] = []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        node = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False)
        assert len(ray.nodes()) == 2

        def remove() -> None:
            while len(list(work.glob("ranks/*.json"))) < 4:  # both have begun
                time.sleep(0.005)
            cluster.remove_node(node, allow_graceful=False)
            left.append(tasks - len(list(work.glob("ranks/*.json"))))

        with ThreadPoolExecutor(1) as thread:
            gone = thread.submit(remove) if removed else None
            engine = find_engine("ray")
            in_ranks(tmp_path / "sessions", tmp_path / "out", tasks, engine=engine)
            if gone is not None:
                gone.result()
                assert left[0] > 2, "it was gone before the last ranks"
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert content(tmp_path / "out") == content(tmp_path / "here")
    assert not work.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--engine", "slurm"], "Add --tasks"),
        (["--tasks", "2", "--engine", "jobs"], "name an exchange"),
        (["--tasks", "2", "--exchange", "folder"], "folder: no URL"),
        (["--tasks", "2", "--exchange", "nonsense://x"], "fsspec does not know"),
        (["--tasks", "2", "--engine-args", "time=1"], "engine local has no settings"),
    ],
)
def test_wrong_engines_end_in_one_line(
    arguments: list[str],
    said: str,
    sessions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = ["prepare", str(sessions), "--out", str(tmp_path / "out"), *arguments]
    assert cli.main(order) == 1
    assert said in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["sessions"]


def test_unknown_settings_of_slurm_are_named(sessions: Path, tmp_path: Path) -> None:
    pytest.importorskip("datatrove")
    engine = find_engine("slurm", settings={"partitoin": "cpu"})
    with pytest.raises(ConfigError, match="unknown settings: partitoin, missing: partition, time"):
        in_ranks(sessions, tmp_path / "out", 3, engine=engine)
