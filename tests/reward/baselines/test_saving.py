"""Saved models predict the same in a new process, and loading runs no code of the file."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ifllm_hf.errors import ConfigError, DataError, OutputError
from ifllm_hf.reward.baselines import choice as baselines
from ifllm_hf.reward.baselines import saving
from ifllm_hf.reward.baselines.forest import PaperForest
from ifllm_hf.reward.baselines.late_reading import LateReading
from ifllm_hf.reward.baselines.length_rule import LengthLR, LengthRule, Memory, TrainingMean
from ifllm_hf.reward.baselines.linear import AntisymmetricLR
from ifllm_hf.reward.baselines.pointwise import PointwiseRidge
from ifllm_hf.reward.baselines.text_models import TfidfLR

Rows = tuple[pl.DataFrame, np.ndarray, np.ndarray]

MODELS: list[Any] = [
    TrainingMean(),
    LengthRule(),
    LengthLR(),
    baselines.first_behavior_model(),
    baselines.default_model(),
    baselines.AntisymmetricBooster("booster", baselines.LATE, rounds=5),
    PaperForest("forest", ["mouse_depth_a", "gaze_depth_b"], trees=5),
    TfidfLR(),
    PointwiseRidge("ridge", binary=True),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_round_trip(model: Any, rows: Rows, tmp_path: Path) -> None:
    frame, y, reader = rows
    model.fit(frame, y, reader)
    path = tmp_path / "model.skops"
    saving.save_model(model, path)
    again = saving.load_model(path)
    assert type(again) is type(model) and again.name == model.name
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))


def test_a_new_process_predicts_the_same(rows: Rows, tmp_path: Path) -> None:
    frame, y, reader = rows
    model = baselines.default_model().fit(frame, y, reader)
    model.save(tmp_path / "m.skops")
    frame.write_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, numpy as np, polars as pl\n"
        "from ifllm_hf.reward.baselines.saving import load_model\n"
        "p = load_model(sys.argv[1]).predict_proba(pl.read_parquet(sys.argv[2]))\n"
        "np.save(sys.argv[3], p)\n"
    )
    places = [str(tmp_path / name) for name in ("m.skops", "rows.parquet", "p.npy")]
    subprocess.run([sys.executable, "-c", code, *places], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), model.predict_proba(frame))


class Foreign:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


def test_foreign_objects_are_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import skops.io

    path = tmp_path / "bad.skops"
    content = {"format": 1, "class": "LengthRule", "settings": {}, "state": {"x": Foreign()}}
    with path.open("wb") as file:
        skops.io.dump(content, file)
    with pytest.raises(DataError, match="which no baseline"):
        saving.load_model(path)
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": 1, "class": "system", "settings": {}, "state": {}}, "holds a 'system'"),
        ({"format": 2}, "format 1"),
        (["x"], "format 1"),
        ({"format": 1, "class": "LengthRule", "settings": {}}, "format 1"),
        ({"format": 1, "class": ["LengthRule"], "settings": {}, "state": {}}, "holds a .'Length"),
        (
            {"format": 1, "class": "LengthRule", "settings": {"colour": 1}, "state": {}},
            "field 'colour' is not where",
        ),
        (
            {"format": 1, "class": "LengthLR", "settings": {}, "state": {"penalty": 1.0}},
            "field 'penalty' is not where",
        ),
        (
            {"format": 1, "class": "AntisymmetricLR", "settings": {"name": "x"}, "state": {}},
            "field 'columns' is not where",
        ),
    ],
)
def test_files_that_are_no_baseline(content: Any, message: str, tmp_path: Path) -> None:
    import skops.io

    path = tmp_path / "odd.skops"
    with path.open("wb") as file:
        skops.io.dump(content, file)
    with pytest.raises(DataError, match=message):
        saving.load_model(path)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.skops"
    path.write_bytes(b"PK not a zip")
    with pytest.raises(DataError, match=r"broken\.skops"):
        saving.load_model(path)
    with pytest.raises(DataError, match=r"absent\.skops"):
        saving.load_model(tmp_path / "absent.skops")
    for schema in ("{", "{}"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("schema.json", schema)
        with pytest.raises(DataError, match=r"broken\.skops: "):
            saving.load_model(path)


def test_a_model_that_cannot_be_written_leaves_nothing_behind(rows: Rows, tmp_path: Path) -> None:
    frame, y, reader = rows
    model = AntisymmetricLR("lr", baselines.LATE).fit(frame, y, reader)
    model.weights = (weight for weight in "ab")  # type: ignore[assignment]
    with pytest.raises(TypeError):
        model.save(tmp_path / "m.skops")
    assert not list(tmp_path.iterdir())


def test_places_and_classes_that_do_not_fit(rows: Rows, tmp_path: Path) -> None:
    frame, y, reader = rows
    path = tmp_path / "m.skops"
    model = AntisymmetricLR("lr", baselines.LATE).fit(frame, y, reader)
    model.save(path)
    with pytest.raises(OutputError, match="exists already"):
        model.save(path)
    model.save(path, overwrite=True)
    assert AntisymmetricLR.load(path).name == "lr"
    with pytest.raises(DataError, match="holds a AntisymmetricLR"):
        LateReading.load(path)
    with pytest.raises(ConfigError, match="Memory"):
        saving.save_model(Memory(), tmp_path / "memory.skops")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.skops"]


def test_every_class_in_the_list_exists() -> None:
    import importlib

    for name, module in saving.SAVED_CLASSES.items():
        assert hasattr(importlib.import_module(module), name)
