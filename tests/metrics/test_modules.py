from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from ifllm_hf import metrics
from ifllm_hf.errors import ConfigError
from ifllm_hf.metrics import core

LABELS = [1, 0, 1, 0, 1]
P_B = [0.9, 0.2, 0.5, 0.7, 0.6]
EXPECTED = {
    "pairwise_accuracy": {"accuracy": 0.7},
    "preference_auc": {"auc": core.roc_auc(LABELS, P_B)},
    "brier": {"brier": core.brier_score(LABELS, P_B)},
    "ece": {
        "ece": core.expected_calibration_error(LABELS, P_B),
        "ece_perfect": core.expected_ece_if_calibrated(P_B),
    },
}


@pytest.fixture(scope="module")
def hf_evaluate(tmp_path_factory: pytest.TempPathFactory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("evaluate")
    cache = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.config, "HF_MODULES_CACHE", str(cache))
        patch.setattr(module.config, "HF_EVALUATE_OFFLINE", True)
        yield module


@pytest.mark.parametrize("name", EXPECTED)
def test_module_from_the_package(name: str, hf_evaluate, tmp_path: Path) -> None:
    result = metrics.load(name, cache_dir=str(tmp_path)).compute(predictions=P_B, references=LABELS)
    assert result == pytest.approx(EXPECTED[name])


@pytest.mark.parametrize("name", metrics.MODULES)
def test_module_from_its_path_without_network(name: str, hf_evaluate, tmp_path: Path) -> None:
    module = hf_evaluate.load(metrics.path(name), cache_dir=str(tmp_path))
    result = module.compute(predictions=P_B, references=LABELS)
    for key, value in EXPECTED.get(name, {"n": 5}).items():
        assert result[key] == pytest.approx(value)


def test_likert_module(hf_evaluate, tmp_path: Path) -> None:
    module = metrics.load("likert", cache_dir=str(tmp_path))
    module.add(prediction=2.5, reference=3)
    module.add_batch(predictions=[4.0, 1.0], references=[5, 2])
    result = module.compute()
    assert result["n"] == 3
    assert result["mse"] == pytest.approx((0.25 + 1 + 1) / 3)


@pytest.mark.parametrize(
    ("name", "key"),
    [("pairwise_accuracy", "accuracy"), ("preference_auc", "auc"), ("brier", "brier")],
)
def test_groups_add_an_interval(name: str, key: str, hf_evaluate, tmp_path: Path) -> None:
    groups = ["u", "u", "v", "v", "w"]
    module = metrics.load(name, cache_dir=str(tmp_path))
    result = module.compute(predictions=P_B, references=LABELS, groups=groups, draws=200, seed=4)
    expected = core.score_interval(key, LABELS, P_B, groups, draws=200, seed=4)
    assert result == {
        key: expected.estimate,
        f"{key}_low": expected.low,
        f"{key}_high": expected.high,
        "workers": 3,
    }
    assert expected.low < expected.high
    # What is not said is the same in both; many readers, so that each draw moves the ends.
    rng = np.random.default_rng(6)
    y, p, many = rng.integers(0, 2, 200), rng.random(200), rng.integers(0, 60, 200)
    result = module.compute(predictions=p, references=y, groups=many)
    assert result == {key: result[key], **core.interval_columns(key, y, p, many)}


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="no metric named 'f1'"):
        metrics.load("f1")
    with pytest.raises(AttributeError):
        metrics.F1  # noqa: B018


def test_core_needs_nothing_but_numpy() -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'evaluate', 'datasets', 'sklearn', 'scipy', 'torch'}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from ifllm_hf import metrics\n"
        "from ifllm_hf.metrics import core\n"
        "assert core.pairwise_accuracy([1], [0.9]) == 1\n"
        "from ifllm_hf.errors import ConfigError\n"
        "try:\n"
        "    metrics._metric_class('ece')\n"
        "except (ConfigError, ModuleNotFoundError) as error:\n"
        "    assert 'evaluate' in str(error) or 'datasets' in str(error), error\n"
        "else:\n"
        "    raise SystemExit('should have failed')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
