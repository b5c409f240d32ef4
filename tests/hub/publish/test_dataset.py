from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from ifllm_hf.cli import main
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.errors import ConfigError, OutputError, TableError
from ifllm_hf.hub.publish.dataset import push_dataset
from tests.helpers import prepared_folder

ROOT = Path(__file__).parents[3]
REPO = "lab/ifllm-test"


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    folder: Path = prepared_folder.write(tmp_path / "ifllm", shard_bytes=1).path
    return folder


def on_disk(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def python(script: str, hub: Any, cwd: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=cwd,
        env={
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            **hub.env(cwd / "hf", token=False),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_push_is_one_commit_with_every_file(hub: Any, prepared: Path) -> None:
    url = push_dataset(prepared, REPO)
    assert url == f"{hub.url}/datasets/{REPO}"
    repo = hub.repos["datasets", REPO]
    assert [commit.message for commit in repo.commits] == [
        "initial commit",
        "Upload the prepared IFLLM dataset",
    ]
    assert hub.files(REPO) == on_disk(prepared)
    assert not repo.private


def test_pushed_dataset_loads_in_a_fresh_process_without_our_package(
    hub: Any, prepared: Path, tmp_path: Path
) -> None:
    push_dataset(prepared, REPO)
    (tmp_path / "elsewhere").mkdir()
    script = f"""
import json
from datasets import get_dataset_config_names, load_dataset
rows = load_dataset({REPO!r}, split="train")
stream = load_dataset({REPO!r}, "ticks", split="train", streaming=True)
print(json.dumps([list(rows["query_id"]), rows[0]["file_row"], rows[1]["preference"],
                  get_dataset_config_names({REPO!r}),
                  [row["conversation_id"] for row in stream]]))
"""
    answer = python(script, hub, tmp_path / "elsewhere")
    assert answer == [
        [11, 12, 13, 31],
        [1, 2, 3, 6, 7],
        "b",
        list(CONFIGS),
        list(prepared_folder.TICKS_OF),
    ]


def test_pushed_card_is_valid_and_says_the_configs(hub: Any, prepared: Path) -> None:
    from huggingface_hub import DatasetCard

    push_dataset(prepared, REPO)
    DatasetCard(hub.files(REPO)["README.md"].decode()).validate(repo_type="dataset")
    metadata = yaml.safe_load(hub.files(REPO)["README.md"].decode().split("---")[1])
    assert [config["config_name"] for config in metadata["configs"]] == list(CONFIGS)


def test_second_push_deletes_shards_that_are_no_more(
    hub: Any, prepared: Path, tmp_path: Path
) -> None:
    push_dataset(prepared, REPO)
    HfApi().upload_file(
        path_or_fileobj=b"kept", path_in_repo="notes.txt", repo_id=REPO, repo_type="dataset"
    )
    fewer = prepared_folder.write(tmp_path / "again").path
    push_dataset(fewer, REPO)
    assert hub.files(REPO) == {**on_disk(fewer), "notes.txt": b"kept"}
    assert len(hub.repos["datasets", REPO].commits) == 4


def test_without_a_flag_the_account_says_whether_a_repository_is_private(
    hub: Any, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    create = HfApi.create_repo

    def create_repo(self: HfApi, *args: Any, **kwargs: Any) -> Any:
        asked.append(kwargs["private"])
        return create(self, *args, **kwargs)

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    assert main(["push", "dataset", REPO, "--from", str(prepared)]) == 0
    assert main(["push", "dataset", f"{REPO}-2", "--from", str(prepared), "--private"]) == 0
    assert asked == [None, True]


def test_private_repository(hub: Any, prepared: Path) -> None:
    push_dataset(prepared, REPO, private=True)
    assert hub.repos["datasets", REPO].private
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).dataset_info(REPO)


@pytest.mark.parametrize("repo_id", ["ifllm", "a/b/c", "/x", "lab/", "lab/da ta", "", "lab/é"])
def test_name_without_organisation_is_refused(hub: Any, prepared: Path, repo_id: str) -> None:
    with pytest.raises(ConfigError, match="Expected ORG/NAME"):
        push_dataset(prepared, repo_id)
    assert hub.repos == {}


def test_folder_that_is_not_prepared_or_not_complete_is_refused(
    hub: Any, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(TableError, match="not a prepared folder"):
        push_dataset(tmp_path, REPO)
    (prepared / "tasks" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(TableError, match="tasks"):
        push_dataset(prepared, REPO)
    assert hub.repos == {}


def test_without_token_it_says_how_to_log_in(
    hub: Any, prepared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with pytest.raises(OutputError, match=r"hf auth login.*HF_TOKEN"):
        push_dataset(prepared, REPO)


def test_wrong_token_and_foreign_namespace(
    hub: Any, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="somebody/x: .*403"):
        push_dataset(prepared, "somebody/x")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(OutputError, match="hf auth login"):
        push_dataset(prepared, REPO)
    assert hub.repos == {}


def test_without_network_it_says_so(
    hub: Any, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OutputError, match="cannot be reached"):
        push_dataset(prepared, REPO)


@pytest.mark.parametrize("route", ["create", "preupload", "lfs_batch", "lfs_upload", "commit"])
def test_failure_at_any_step_leaves_the_repository_as_it_was(
    hub: Any, prepared: Path, route: str
) -> None:
    hub.failing[route] = 418
    with pytest.raises(OutputError, match="418.*Nothing was changed"):
        push_dataset(prepared, REPO)
    assert all(len(repo.commits) == 1 for repo in hub.repos.values())
    hub.failing.clear()
    push_dataset(prepared, REPO)
    assert hub.files(REPO) == on_disk(prepared)


def test_offline_mode_says_so(hub: Any, prepared: Path, tmp_path: Path) -> None:
    script = f"""
import json
from ifllm_hf.hub.publish.dataset import push_dataset
try:
    push_dataset({str(prepared)!r}, {REPO!r})
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
    env = {**os.environ, **hub.env(tmp_path), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True
    )
    kind, message = json.loads(done.stdout)
    assert kind == "OutputError" and "$HF_HUB_OFFLINE is set" in message
