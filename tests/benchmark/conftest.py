from __future__ import annotations

import polars as pl
import pytest

from tests.helpers.dwell_turns import make_turns


@pytest.fixture
def turns() -> pl.DataFrame:
    return make_turns()
