"""Adapters that our recipes trained, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.alignment.adapters import train_adapter


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that trains an adapter; the same settings are trained once."""
    root, made = tmp_path_factory.mktemp("trained"), dict[str, Path]()

    def adapter(model: str = "tiny-random/llama", **settings: Any) -> Path:
        key = repr((model, sorted(settings.items())))
        if key not in made:
            made[key] = train_adapter(root / f"run{len(made)}", model, **settings)
        return made[key]

    return adapter
