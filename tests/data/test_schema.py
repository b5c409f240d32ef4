from __future__ import annotations

import pyarrow as pa
import pytest
from datasets import Features, List, Value

from ifllm_hf.data.schema import (
    CONFIGS,
    CONVERSATION_TICK_COLUMNS,
    ENUMERATIONS,
    SCHEMAS,
    TICKS,
    TURN_TICK_COLUMNS,
    TURNS,
    features,
)


def test_the_seven_configs_come_in_the_documented_order() -> None:
    words = "pairwise pointwise turns ticks preferences tasks workers"
    assert tuple(words.split()) == CONFIGS


@pytest.mark.parametrize("config", CONFIGS)
def test_features_and_arrow_schema_are_the_same(config: str) -> None:
    types = features(config)
    assert types.arrow_schema.equals(SCHEMAS[config])
    assert list(types) == SCHEMAS[config].names
    assert Features.from_dict(types.to_dict()) == types


def test_ticks_of_a_turn_are_parallel_lists_with_strings_for_enumerations() -> None:
    types = features("pairwise")
    assert types["preference"] == Value("string")
    assert types["gaze_on"] == List(Value("string"))
    assert types["t_ms"] == List(Value("float64"))
    assert types["gaze_char"] == List(Value("int32"))
    assert types["history_a"] == List({"role": Value("string"), "content": Value("string")})
    assert types["asked_at"] == Value("timestamp[us, tz=UTC]")
    for name in TURN_TICK_COLUMNS:
        assert SCHEMAS["pairwise"].field(name).type == pa.list_(TICKS.field(name).type)


def test_pairwise_and_pointwise_have_the_same_columns() -> None:
    assert SCHEMAS["pairwise"].equals(SCHEMAS["pointwise"])
    assert SCHEMAS["pairwise"].names == [*TURNS.names, "reading_end_source", *TURN_TICK_COLUMNS]


def test_ticks_config_has_every_tick_column_as_a_list() -> None:
    scalars = ["conversation_id", "user_id", "task_id", "kind", "fold"]
    assert SCHEMAS["ticks"].names == [*scalars, *CONVERSATION_TICK_COLUMNS]
    assert set(CONVERSATION_TICK_COLUMNS) == set(TICKS.names) - {"conversation_id"}


def test_every_enumeration_is_a_string_column_of_some_config() -> None:
    columns = {field.name: field.type for schema in SCHEMAS.values() for field in schema}
    for name in ENUMERATIONS:
        assert columns[name] in (pa.string(), pa.list_(pa.string()))
