"""The Hub of these tests is a server in memory; nothing reaches the network."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A running loopback hub, which this process uses as well."""
    yield from _running(monkeypatch)


@pytest.fixture(scope="module")
def hub_of_module() -> Iterator[Any]:
    """The same for all tests of a module, where a push takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _running(patch)


def _running(patch: pytest.MonkeyPatch) -> Iterator[Any]:
    import huggingface_hub.hf_api
    from huggingface_hub import constants

    with _loopback().LoopbackHub() as hub:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(huggingface_hub.hf_api.api, "endpoint", hub.url)
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setenv("HF_TOKEN", hub.TOKEN)
        yield hub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # huggingface_hub 2.4 uploads LFS files with an argument that httpx2 calls deprecated.
    mark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
    for item in items:
        if {"hub", "hub_of_module"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(mark)


def _loopback() -> Any:
    """Load the sibling file; tests are no package."""
    name = "ifllm_tests_loopback"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("loopback.py"))
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
