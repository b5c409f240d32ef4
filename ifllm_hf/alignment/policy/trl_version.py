"""The version of TRL whose trainers ours override parts of."""

from __future__ import annotations

import trl

from ifllm_hf.errors import ConfigError

TRL_MINOR = "1.16"


def check_trl() -> None:
    """Refuse another minor version.

    Raises:
        ConfigError: It is installed.
    """
    if not trl.__version__.startswith(f"{TRL_MINOR}."):
        raise ConfigError(
            f"trl {trl.__version__} is installed; this trainer overrides parts of trl "
            f"{TRL_MINOR} that move between versions; run: pip install 'trl~={TRL_MINOR}.0'"
        )
