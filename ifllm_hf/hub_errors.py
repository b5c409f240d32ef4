"""What goes wrong between us and the Hub, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ifllm_hf.errors import ConfigError, OutputError

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def check_repo_id(repo_id: str) -> None:
    """Raise ConfigError unless `repo_id` is `ORG/NAME`."""
    if not _REPO_ID.fullmatch(repo_id):
        raise ConfigError(
            f"{repo_id!r} is no name of a repository. Expected ORG/NAME, such as my-lab/ifllm: "
            "letters, digits, '-', '_' and '.', with exactly one '/'."
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
