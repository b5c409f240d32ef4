"""Puts what we made on the Hub: one commit per push, and plain words on failure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.card import waiting_questions
from ifllm_hf.errors import ConfigError, OutputError, TableError

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def push_dataset(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None = None,
    message: str = "Upload the prepared IFLLM dataset",
) -> str:
    """Upload a prepared folder to a dataset repository, in one commit.

    The repository is made if it is missing. Parquet files of an older upload that are not part of
    this one are deleted in the same commit, so readers never see a mixture.

    Args:
        folder: What `ifllm prepare` wrote.
        repo_id: `ORG/NAME`; a bare name cannot be loaded back from the Hub.
        private: For a new repository: hide it. Default: what the account or organisation says.
        message: Of the commit.

    Returns:
        The web address of the repository.

    Raises:
        TableError: `folder` is not a prepared folder, or not a complete one.
        ConfigError: `repo_id` is no `ORG/NAME`, or unreviewed questions would become public.
        OutputError: No token, no permission, or no network.
    """
    for config in CONFIGS:
        if not config_files(folder, config):
            raise TableError(
                f"{Path(folder) / config}: holds no Parquet file. Run `ifllm prepare` again."
            )
    check_repo_id(repo_id)
    refuse_unreviewed(folder, repo_id, private=private)
    with hub_errors(repo_id):
        from huggingface_hub import HfApi

        api = HfApi(library_name="ifllm_hf")
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        found = api.repo_info(repo_id, repo_type="dataset")
        refuse_unreviewed(folder, repo_id, private=found.private, state="is public already")
        api.upload_folder(
            repo_id=repo_id,
            repo_type="dataset",
            folder_path=Path(folder),
            commit_message=message,
            delete_patterns=[f"{config}/train-*.parquet" for config in CONFIGS],
        )
    return str(url)


def check_repo_id(repo_id: str) -> None:
    """Raise ConfigError unless `repo_id` is `ORG/NAME`."""
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigError(
            f"{repo_id!r} is no name of a repository. Expected ORG/NAME, such as my-lab/ifllm: "
            "letters, digits, '-', '_' and '.', with exactly one '/'."
        )


def refuse_unreviewed(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool | None,
    state: str = "would be public",
) -> None:
    """Raise ConfigError if a prepared folder holds unreviewed questions and the place is public.

    Args:
        folder: The prepared folder.
        repo_id: Where it is going.
        private: Whether only its owners can see that place; None counts as no.
        state: Of the place, for the message.
    """
    waiting = waiting_questions(Path(folder))
    if waiting and private is not True:
        raise ConfigError(
            f"{repo_id}: {state}, and {waiting} questions in {folder} were not reviewed for "
            "personal data. Push to a private repository (--private), or review them (`ifllm "
            "review`) and prepare with --public."
        )


@contextmanager
def hub_errors(repo_id: str) -> Iterator[None]:
    """Turn what goes wrong between us and the Hub into an `OutputError` that says what to do."""
    try:
        yield
    except Exception as error:
        # An upload of a large file that fails arrives as a bare RuntimeError around the cause.
        cause = error.__cause__ if type(error) is RuntimeError else error
        said = _explain(cause)
        if said is None:
            raise
        raise OutputError(f"{repo_id}: {said}") from error


def _explain(error: BaseException | None) -> str | None:
    """Say in words what a failed request means; None for anything that is not one."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "the Hub is not asked, $HF_HUB_OFFLINE is set. Unset it and push again."
    if isinstance(error, (httpx.TransportError, ConnectionError)):
        return (
            f"the Hub cannot be reached ({type(error).__name__}). Check the network and push "
            "again; files that arrived are not sent twice."
        )
    no_token = (
        "the Hub does not know who is pushing. Expected a token with write permission: "
        "run `hf auth login`, or set $HF_TOKEN."
    )
    if isinstance(error, errors.LocalTokenNotFoundError):
        return no_token
    if not isinstance(error, errors.HfHubHTTPError):
        return None
    status = error.response.status_code
    if status == 401:
        return no_token
    if status in (403, 404):
        return (
            f"the Hub refused to write there ({status}). Expected a repository of yours and a "
            "token with write permission: see `hf auth whoami`, or make a token at "
            "https://huggingface.co/settings/tokens."
        )
    said = " ".join((error.server_message or str(error)).split())
    return f"the Hub answered {status}: {said}. Nothing was changed there; try again later."
