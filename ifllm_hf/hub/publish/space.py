"""Puts the app on the Hub as a Gradio Space that needs nothing but its own folder.

    app.py, ifllm_space/    the app
    ifllm_hf/               this package, as it is installed here
    data/                   the turns of a prepared folder
    model/                  the small rewards of the tab Score
    requirements.txt        every other dependency, pinned to what is installed here
    README.md               the card

A Space has no build step, and when its requirements are installed its other files are not there
yet. The package is on no index, so a line for it in `requirements.txt` could not be installed:
it lies beside `app.py`, where Python finds it first, and `requirements.txt` names its version.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from ifllm_hf.card_template import fill
from ifllm_hf.data.prepared.elsewhere import refuse_unreviewed
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import package_folder, shipped_folder
from ifllm_hf.hub_errors import check_repo_id, hub_errors
from ifllm_hf.version import __version__

DISTRIBUTION = "ifllm-hf"
EXTRA = "space"
CONFIGS = ("pairwise", "pointwise")
"""What the app shows; ticks off the turns and tables of readers stay at home."""

_OURS = ("ifllm_hf/**", "ifllm_space/**", "data/**", "model/**")
_NOT_UPLOADED = shutil.ignore_patterns("__pycache__", "*.pyc", "recipes", "spaces")
_KINDS = ("synthetic", "sessions", "release")
_CARD = Path(__file__).parents[1] / "cards" / "templates" / "space_card.md"


def push_space(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    message: str = "Upload the IFLLM Space",
) -> str:
    """Upload the app with its data to a Space, in one commit.

    The Space is made if it is missing. Files of an older upload that are not part of this one are
    deleted in the same commit; sessions are never uploaded.

    Args:
        folder: What `ifllm prepare` wrote; its turns are published with the Space.
        repo_id: `ORG/NAME`.
        private: For a new Space: hide it. Default: what the account or organisation says.
        message: Of the commit.

    Returns:
        The web address of the Space.

    Raises:
        TableError: `folder` is not a prepared folder.
        ConfigError: `repo_id` is no `ORG/NAME`, a dependency of the app is not installed here, or
            unreviewed questions would become public.
        OutputError: No token, no permission, or no network.
    """
    check_repo_id(repo_id)
    refuse_unreviewed(folder, repo_id, private=private)
    with tempfile.TemporaryDirectory(prefix="ifllm-space-") as place:
        space = Path(place) / "space"
        write_space(folder, space)
        with hub_errors(repo_id), warnings.catch_warnings():
            # Its data travels with the app, so that a Space fetches nothing when it starts.
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data")
            from huggingface_hub import HfApi

            api = HfApi(library_name="ifllm_hf")
            url = api.create_repo(
                repo_id, repo_type="space", space_sdk="gradio", private=private, exist_ok=True
            )
            found = api.repo_info(repo_id, repo_type="space")
            refuse_unreviewed(folder, repo_id, private=found.private, state="is public already")
            api.upload_folder(
                repo_id=repo_id,
                repo_type="space",
                folder_path=space,
                commit_message=message,
                delete_patterns=list(_OURS),
            )
    return str(url)


def write_space(folder: str | os.PathLike[str], out: Path) -> None:
    """Write the folder of the Space.

    Args:
        folder: What `ifllm prepare` wrote.
        out: A new folder.

    Raises:
        TableError: `folder` is not a prepared folder.
        ConfigError: The app or a dependency of it is not installed here.
    """
    from ifllm_hf.reward.baselines.by_fold import fit_prepared

    shards = [Path(file) for config in CONFIGS for file in config_files(folder, config)]
    requirements = pinned_requirements()
    app = shipped_folder("spaces")
    reward = fit_prepared(folder)
    shutil.copytree(app, out, ignore=_NOT_UPLOADED)
    shutil.copytree(package_folder(), out / "ifllm_hf", ignore=_NOT_UPLOADED)
    for shard in shards:
        place = out / "data" / shard.parent.name / shard.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shard, place)
    shutil.copyfile(Path(folder) / "README.md", out / "data" / "README.md")
    reward.save(out / "model")
    (out / "requirements.txt").write_text(requirements, encoding="utf-8")
    card = _card(reward.trained_on.source, reward.trained_on.pairs)
    (out / "README.md").write_text(card, encoding="utf-8")


def pinned_requirements() -> str:
    """Return `requirements.txt`: what the app imports, pinned to the versions that run here.

    Raises:
        ConfigError: One of them is not installed.
    """
    head = f"# {DISTRIBUTION} {__version__} itself lies in ifllm_hf/: it is on no index.\n"
    try:
        pins = {f"{name}=={version(name.partition('[')[0])}" for name in _needed([EXTRA])}
    except PackageNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed, which the Space needs; expected the extra "
            f"`{EXTRA}`. Install it: pip install '{DISTRIBUTION}[{EXTRA}]'."
        ) from error
    return head + "".join(f"{pin}\n" for pin in sorted(pins, key=str.lower))


def _needed(extras: Iterable[str]) -> set[str]:
    """Return the names of direct dependencies, with their extras, of the base and `extras`."""
    from packaging.requirements import Requirement

    names: set[str] = set()
    for line in requires(DISTRIBUTION) or []:
        wanted = Requirement(line)
        markers = [{"extra": extra} for extra in ("", *extras)]
        if wanted.marker and not any(wanted.marker.evaluate(marker) for marker in markers):
            continue
        if wanted.name.replace("_", "-") == DISTRIBUTION:
            names |= _needed(sorted(wanted.extras))
        else:
            inner = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
            names.add(wanted.name + inner)
    return names


def _card(kind: str, pairs: int) -> str:
    values = {"sdk_version": version("gradio"), "version": __version__, "pairs": pairs}
    kinds = {name: "" if name == kind else None for name in _KINDS}
    return fill(_CARD.read_text(encoding="utf-8"), {**values, **kinds})
