"""Questions that nobody has reviewed reach no public repository, not even an old one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.errors import ConfigError, TableError
from ifllm_hf.hub.cards.dataset_card import rewrite_card
from ifllm_hf.hub.publish import space
from ifllm_hf.hub.publish.dataset import push_dataset
from tests.helpers.made_up_sessions import write_sessions


@pytest.fixture(scope="module")
def unreviewed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of two questions that nobody has read."""
    place = tmp_path_factory.mktemp("unreviewed")
    write_sessions(place / "sessions", 1, steps=5)
    prepare(place / "sessions", place / "out", progress=False)
    return place / "out"


def test_unreviewed_questions_go_to_a_private_repository_alone(hub: Any, unreviewed: Path) -> None:
    from huggingface_hub import HfApi

    HfApi().create_repo("lab/old", repo_type="dataset", private=False)
    with pytest.raises(ConfigError, match="lab/old: is public .*2 questions"):
        push_dataset(unreviewed, "lab/old", private=True)
    push_dataset(unreviewed, "lab/new", private=True)
    assert HfApi().repo_info("lab/new", repo_type="dataset").private


def test_the_card_of_sessions_is_not_replaced_by_one_that_says_less(unreviewed: Path) -> None:
    before = (unreviewed / "README.md").read_bytes()
    with pytest.raises(TableError, match="made of collected sessions"):
        rewrite_card(unreviewed)
    assert (unreviewed / "README.md").read_bytes() == before


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("synthetic", "is made up"),
        ("sessions", "sessions that were collected with this app"),
        ("release", "public IFLLM release"),
    ],
)
def test_a_space_says_what_its_data_are(source: str, says: str) -> None:
    card = space._card(source, 7)
    told = ("is made up", "sessions that were collected with this app", "public IFLLM release")
    assert [part for part in told if part in card] == [says]


def test_unreviewed_questions_are_in_no_public_space(
    hub: Any, unreviewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    def app_alone(folder: Path, out: Path) -> None:
        out.mkdir()
        (out / "app.py").write_text("")

    monkeypatch.setattr(space, "write_space", app_alone)
    with pytest.raises(ConfigError, match="lab/app: would be public.*2 questions"):
        space.push_space(unreviewed, "lab/app")
    assert not hub.repos
    HfApi().create_repo("lab/old", repo_type="space", space_sdk="gradio", private=False)
    with pytest.raises(ConfigError, match="lab/old: is public .*2 questions"):
        space.push_space(unreviewed, "lab/old", private=True)
    space.push_space(unreviewed, "lab/app", private=True)
    assert hub.repos["spaces", "lab/app"].private
