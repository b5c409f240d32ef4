"""Fixtures that several rooms share: the releases, real and made up, read and prepared once."""

from __future__ import annotations

import os

# Before anything imports them: one thread on shared cores, and nobody talks to the network.
for name, value in {
    "OMP_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "GRADIO_ANALYTICS_ENABLED": "0",
}.items():
    os.environ.setdefault(name, value)

from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402

pytest.register_assert_rewrite("tests.helpers")

from tests.helpers.made_once import made_once  # noqa: E402

# A gate must not depend on luck: there the examples are the same in every run. Elsewhere they are
# new ones, and find more. Shared cores make time limits meaningless.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile("gate" if os.environ.get("CI") else "search")

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl

    from ifllm_hf.data.prepared.prepare import PrepareReport
    from ifllm_space.demo_data import DemoData
    from tests.helpers.loopback_hub import LoopbackHub


def _place(variable: str, what: str) -> Path:
    place = os.environ.get(variable)
    if not place:
        pytest.skip(f"${variable} ({what}) is not set")
    return Path(place).resolve()


@pytest.fixture(scope="session")
def release_path() -> Path:
    """The real release, folder or archive."""
    return _place("IFLLM_RELEASE", "folder or archive of the release")


@pytest.fixture(scope="session")
def reference_path() -> Path:
    """What the paper's own pipeline wrote."""
    return _place("IFLLM_REFERENCE", "folder with the paper's output")


@pytest.fixture(scope="session")
def release_bytes(release_path: Path) -> dict[str, bytes]:
    """The three tables of the real release as they lie there."""
    from ifllm_hf.data.raw.release_source import open_source

    with open_source(release_path, hash_content=False) as source:
        return source.tables()


@pytest.fixture(scope="session")
def release_cells(release_bytes: dict[str, bytes]) -> dict[str, pl.DataFrame]:
    """The three tables of the real release as strings, by file name."""
    from ifllm_hf.data.raw.csv_tables import TABLE_COLUMNS, read_csv_table

    return {n: read_csv_table(release_bytes[n], n, c)[0] for n, c in TABLE_COLUMNS.items()}


@pytest.fixture(scope="session")
def synthetic_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up release with every kind of defect; `read_truth` tells what is true of it."""
    from ifllm_hf.data.synthetic import write_synthetic_release

    def make(folder: Path) -> Path:
        write_synthetic_release(folder / "release", conversations=24, ticks_per_turn=400)
        return folder / "release"

    return made_once(tmp_path_factory, "synthetic", make)


@pytest.fixture(scope="session")
def small_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up release without defects, small enough to be prepared many times."""
    from ifllm_hf.data.synthetic import write_synthetic_release

    out = tmp_path_factory.mktemp("small") / "release"
    write_synthetic_release(out, conversations=4, ticks_per_turn=120, defects=False)
    return out


@pytest.fixture(scope="session")
def prepared_small(small_release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small release, prepared; copy it before changing it."""
    from ifllm_hf.data.prepared.prepare import prepare

    out = tmp_path_factory.mktemp("prepared-small") / "ifllm"
    prepare(small_release, out, progress=False, card=lambda folder, known: "# The old one\n")
    return out


@pytest.fixture(scope="session")
def synthetic_report(
    synthetic_release: Path, tmp_path_factory: pytest.TempPathFactory
) -> PrepareReport:
    """The made-up release, prepared."""
    from ifllm_hf.data.prepared.prepare import prepare

    def make(folder: Path) -> PrepareReport:
        return prepare(synthetic_release, folder / "ifllm", progress=False)

    return made_once(tmp_path_factory, "prepared-synthetic", make)


@pytest.fixture(scope="session")
def prepared_synthetic(synthetic_report: PrepareReport) -> Path:
    """The folder of the made-up release."""
    return synthetic_report.folder.path


@pytest.fixture(scope="session")
def release_report(release_path: Path, tmp_path_factory: pytest.TempPathFactory) -> PrepareReport:
    """The real release, prepared with its card: half a minute, once per run."""
    from ifllm_hf.data.prepared.prepare import prepare
    from ifllm_hf.hub.cards.dataset_card import write_card

    def make(folder: Path) -> PrepareReport:
        return prepare(release_path, folder / "ifllm", progress=False, card=write_card)

    return made_once(tmp_path_factory, "prepared", make)


@pytest.fixture(scope="session")
def prepared_release(release_report: PrepareReport) -> Path:
    """The folder of the real release."""
    return release_report.folder.path


@pytest.fixture(scope="session")
def demo_data(prepared_synthetic: Path) -> DemoData:
    """The turns that the Space shows: those of the made-up release."""
    from ifllm_space.demo_data import open_demo_data

    return open_demo_data(prepared_synthetic)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A running loopback hub, which this process uses as well."""
    yield from _running(monkeypatch)


@pytest.fixture(scope="module")
def hub_of_module() -> Iterator[LoopbackHub]:
    """The same for all tests of a module, where a push takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        yield from _running(patch)


def _running(patch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    import huggingface_hub.hf_api
    from huggingface_hub import constants

    from tests.helpers.loopback_hub import LoopbackHub

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
    # Files that take long come first, so that no process is left alone with one at the end.
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)
