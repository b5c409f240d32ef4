"""Puts what we made on the Hub: one commit per push, and plain words on failure."""

from __future__ import annotations

import os
from pathlib import Path

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.data.sessions.sessions_card import waiting_questions
from ifllm_hf.errors import ConfigError, TableError
from ifllm_hf.hub_errors import check_repo_id, hub_errors


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
    waiting = waiting_questions(folder)
    if waiting and private is not True:
        raise ConfigError(
            f"{repo_id}: {state}, and {waiting} questions in {folder} were not reviewed for "
            "personal data. Push to a private repository (--private), or review them (`ifllm "
            "review`) and prepare with --public."
        )
