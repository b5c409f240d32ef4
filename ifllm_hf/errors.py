"""Every exception that the public functions raise on purpose.

A message has three parts: what was seen and where, what was expected, what to do.
"""

from __future__ import annotations

from collections.abc import Collection


class IFLLMError(Exception):
    """Base of all errors that a user can act on; the command line prints it without a traceback."""


class SourceError(IFLLMError):
    """A release cannot be opened: missing folder, broken archive, unsafe member name."""


class WithdrawnMeanwhileError(SourceError):
    """A session was withdrawn while it was read."""


class DownloadError(IFLLMError):
    """The pinned release could not be fetched, or does not have the expected content."""


class TableError(IFLLMError):
    """A table or behaviour file does not have the shape of a release."""


class DataError(IFLLMError):
    """Values that no step downstream can use; the message names the row and the field."""


class NothingLabelledError(DataError):
    """No pair is left to be labelled: clicks or behaviour say nothing."""


class OutputError(IFLLMError):
    """A result cannot be written: the place is taken, or the disk is full."""


class RemoteError(IFLLMError):
    """A place that a URL names cannot be read or written."""


class UnfinishedError(IFLLMError):
    """Work that several processes or machines share is not done yet; the same command goes on."""


class ConfigError(IFLLMError):
    """Settings that contradict each other or name something unknown."""


class Interrupted(KeyboardInterrupt):  # noqa: N818 (it is no error)
    """Ctrl-C; the message says what is kept, and how to go on."""


EXTRAS = {
    **dict.fromkeys(("scipy", "sklearn", "skops"), "learn"),
    **dict.fromkeys(("accelerate", "bitsandbytes", "peft", "torch", "transformers"), "train"),
    **dict.fromkeys(("evaluate", "jinja2", "trl"), "train"),
    **dict.fromkeys(("fastapi", "orjson", "uvicorn"), "capture"),
    "gradio": "space",
    "matplotlib": "plot",
    **dict.fromkeys(("datatrove", "ray"), "scale"),
}
"""What the base install lacks, and the extra that brings it."""


def missing_extra(error: BaseException) -> str | None:
    """Say which package of an extra an import lacked; None: it failed for another reason.

    Libraries that import when they are asked wrap the error in one of their own.
    """
    seen: BaseException | None = error
    while seen is not None:
        package = (getattr(seen, "name", None) or "").partition(".")[0]
        if isinstance(seen, ModuleNotFoundError) and package in EXTRAS:
            extra = EXTRAS[package]
            return (
                f"needs {package}, which is not installed; install the extra `{extra}` "
                f"(in a clone: pip install -e '.[{extra}]')"
            )
        seen = seen.__cause__ or seen.__context__
    return None


def require_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Check a setting that has a few possible values.

    Raises:
        ConfigError: It has another one; the message names the possible ones.
    """
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(allowed)}")
