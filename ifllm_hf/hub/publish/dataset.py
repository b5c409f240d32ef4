"""Puts what we made on the Hub: one commit per push, and plain words on failure."""

from __future__ import annotations

import os
from pathlib import Path

from ifllm_hf.data.prepared.elsewhere import commit_prepared
from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.data.schema import CONFIGS
from ifllm_hf.errors import TableError
from ifllm_hf.hub_errors import check_repo_id


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
    return commit_prepared(folder, repo_id, private=private, message=message)
