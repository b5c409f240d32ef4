"""A program that is not on this machine."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def missing(package: str) -> NoReturn:
    """Skip for want of a package of the system; where everything is installed that is a failure."""
    why = f"no {package} here; `make setup-test` installs it"
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)
