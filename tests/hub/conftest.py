"""The Hub of these tests is a server in memory; nothing reaches the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.loopback_hub import LoopbackHub


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

    with LoopbackHub() as hub:
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
