from __future__ import annotations

import pytest

from ifllm_hf.data.schema import CONFIGS, SCHEMAS
from ifllm_hf.hub.cards.column_meanings import MEANINGS, column_tables


@pytest.mark.parametrize("config", CONFIGS)
def test_every_column_is_explained(config: str) -> None:
    text = "\n".join(column_tables().values())
    for name in SCHEMAS[config].names:
        assert f"| `{name}` |" in text


def test_no_meaning_is_left_of_a_column_that_is_gone() -> None:
    assert set(MEANINGS) == {name for schema in SCHEMAS.values() for name in schema.names}
