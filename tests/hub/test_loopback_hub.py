"""The Hub of these tests answers as the real one does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError


@pytest.mark.parametrize("kind", ["model", "space", "dataset"])
def test_hub_keeps_repositories_of_every_kind(hub: Any, kind: str, tmp_path: Path) -> None:
    api = HfApi()
    sdk = {"space_sdk": "gradio"} if kind == "space" else {}
    api.create_repo("tester/thing", repo_type=kind, **sdk)
    api.create_repo("tester/thing", repo_type=kind, exist_ok=True, **sdk)
    (tmp_path / "up" / "deep").mkdir(parents=True)
    (tmp_path / "up" / "deep" / "weights.safetensors").write_bytes(b"\0" * 1000)
    (tmp_path / "up" / "config.json").write_text("{}")
    api.upload_folder(repo_id="tester/thing", repo_type=kind, folder_path=tmp_path / "up")
    api.create_tag("tester/thing", tag="v1", repo_type=kind)
    api.upload_file(
        path_or_fileobj=b"2", path_in_repo="config.json", repo_id="tester/thing", repo_type=kind
    )
    api.delete_file("deep/weights.safetensors", "tester/thing", repo_type=kind)

    def read(path: str, revision: str) -> bytes:
        file = hf_hub_download(
            "tester/thing", path, repo_type=kind, revision=revision, cache_dir=tmp_path / "cache"
        )
        return Path(file).read_bytes()

    assert read("config.json", "main") == b"2"
    assert read("config.json", "v1") == b"{}"
    assert read("deep/weights.safetensors", "v1") == b"\0" * 1000
    with pytest.raises(EntryNotFoundError):
        read("deep/weights.safetensors", "main")
    refs = api.list_repo_refs("tester/thing", repo_type=kind)
    assert [tag.name for tag in refs.tags] == ["v1"]
    assert api.list_repo_files("tester/thing", repo_type=kind) == ["config.json"]
    api.delete_repo("tester/thing", repo_type=kind)
    assert not api.repo_exists("tester/thing", repo_type=kind)


def test_hub_reads_ranges(hub: Any, tmp_path: Path) -> None:
    api = HfApi()
    api.create_repo("tester/ranges")
    data = bytes(range(256)) * 40
    api.upload_file(path_or_fileobj=data, path_in_repo="a/b.bin", repo_id="tester/ranges")
    files = HfFileSystem(endpoint=hub.url, token=hub.TOKEN, skip_instance_cache=True)
    assert files.ls("tester/ranges", detail=False) == ["tester/ranges/a"]
    with files.open("tester/ranges/a/b.bin", block_size=1000) as file:
        file.seek(5000)
        assert file.read(700) == data[5000:5700]


def test_hub_knows_its_user_and_checks_cards(hub: Any) -> None:
    from huggingface_hub import ModelCard

    assert HfApi().whoami()["name"] == "tester"
    card = ModelCard("---\nlicense: apache-2.0\n---\ntext")
    card.validate()
    card.push_to_hub(HfApi().create_repo("tester/carded").repo_id)
    assert hub.files("tester/carded", "models")["README.md"].decode() == str(card)
