"""A source ends when its result falls below its best so far, and the best is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from ifllm_hf.alignment.judge.config import JudgeConfig
from ifllm_hf.alignment.judge.report import compare
from ifllm_hf.alignment.judge.verdict import BASELINE, Comparison, Verdict, winner_of
from ifllm_hf.alignment.pipeline import early_stopping
from ifllm_hf.alignment.pipeline import judge as pipeline_judge
from ifllm_hf.alignment.pipeline import loop as pipeline
from ifllm_hf.alignment.pipeline.early_stopping import BETTER, FELL, NOT_BETTER, decide
from ifllm_hf.alignment.pipeline.judge import model_spec
from ifllm_hf.alignment.pipeline.labels import new_pairs
from ifllm_hf.alignment.pipeline.loop import STOPPED, UP_TO_DATE, PipelineStatus
from ifllm_hf.alignment.pipeline.state import DONE, FAILED, INTERRUPTED
from ifllm_hf.errors import ConfigError
from tests.helpers.alignment.pipeline_files import Trainer, run


def compared(rise: float, *, readers: int = 6, noise: float = 0.5, scores: bool = True) -> Any:
    """Return what a judge says of 60 questions whose scores rise by so much in the mean."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=60)
    rises = rise + noise * (drawn - drawn.mean())
    asked = [Comparison(f"q{k}", f"r{k % readers}", "?", "old", "new") for k in range(60)]
    verdicts = [
        Verdict(c.prompt_id, BASELINE, winner_of(5, 5 + up), (5, 5 + up) if scores else None)
        for c, up in zip(asked, rises, strict=True)
    ]
    return compare(asked, verdicts, orders=1, pointwise=True, draws=200, seed=0)[1]


@pytest.mark.parametrize(
    ("rise", "given", "said"),
    [
        (1.0, {}, BETTER),
        (0.05, {}, BETTER),
        (0.0, {"noise": 0.0}, NOT_BETTER),  # every answer is worth what it was
        (-0.01, {}, NOT_BETTER),  # within its interval
        (-1.0, {}, FELL),
        (-1.0, {"readers": 1}, NOT_BETTER),  # one reader: no interval
        (1.0, {"readers": 1}, BETTER),
        (-1.0, {"scores": False}, FELL),  # by the win rate
        (1.0, {"scores": False}, BETTER),
        (0.0, {"scores": False, "noise": 0.0}, NOT_BETTER),
    ],
)
def test_a_fall_is_more_than_its_interval(rise: float, given: dict[str, Any], said: str) -> None:
    assert decide(compared(rise, **given)) == said


def test_a_score_that_is_missing_leaves_the_win_rate() -> None:
    record = compared(-1.0)
    assert record["score_rise"]["high"] < 0
    assert decide({**record, "score_rise": None}) == FELL


# --- in the loop ---------------------------------------------------------------------------------


class Judge:
    """Stands in for judging: the rises that it finds are given; notes who was compared."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rises: list[float | BaseException] = []
        self.asked: list[JudgeConfig] = []
        monkeypatch.setattr(early_stopping, "run_judge", self)
        monkeypatch.setattr(pipeline_judge, "run_judge", lambda config: {})

    def __call__(self, config: JudgeConfig) -> dict[str, Any]:
        self.asked.append(config)
        rise = self.rises.pop(0)
        if isinstance(rise, BaseException):
            raise rise
        return {"candidates": {config.candidates[0].name: compared(rise)}}


class Refresh:
    """A source whose pairs arrive one at a time."""

    def __init__(self, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        self.trainer, self.judge = Trainer(monkeypatch), Judge(monkeypatch)
        self.arrived, self.settings = 0, {"beta": 0.1}
        self.said: list[str] = []
        self.write = write
        monkeypatch.setattr(pipeline, "new_pairs", self._so_far)

    def _so_far(self, pairs: Any, seen: set[int], judge_fold: int | None) -> Any:
        trained = pairs.filter(pl.col("fold") != judge_fold).sort("query_id")
        return new_pairs(trained.head(self.arrived), seen, judge_fold)

    def __call__(
        self, *rises: float | BaseException, more: int = 1, dry: bool = False
    ) -> PipelineStatus:
        """Let more pairs arrive, and run; judges find these rises."""
        self.arrived += more
        self.judge.rises += rises
        path = self.write(
            models=["small.yaml"], sources=["explicit.yaml"], train_on="new", judge="judge.yaml",
            early_stopping=True, settings=self.settings,
        )  # fmt: skip
        judge = {"judge": {"kind": "function", "model": "m.f"}, "draws": 20}
        path.with_name("judge.yaml").write_text(yaml.safe_dump(judge))
        outcome = run(path, dry=dry, say=self.said.append)
        assert self.judge.rises == []
        return outcome

    @property
    def folders(self) -> list[str]:
        return [str(training.folder) for training in self.trainer.asked]


@pytest.fixture
def refresh(files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Refresh:
    return Refresh(files, monkeypatch)


def standing(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "out" / "early-stopping" / "best.json").read_text())


def test_what_falls_is_not_kept_and_nothing_more_is_trained(
    refresh: Refresh, tmp_path: Path
) -> None:
    first = refresh(1.0)
    assert first.cells["small"]["explicit"] == DONE
    baseline, (candidate,) = refresh.judge.asked[0].baseline, refresh.judge.asked[0].candidates
    assert (baseline.adapter, candidate.adapter) == (None, refresh.folders[0])
    assert baseline.model == candidate.model == f"{refresh.folders[0]}/tiny_model"
    assert refresh.judge.asked[0].prompts.fold == 0
    said = refresh(-2.0)
    assert refresh.judge.asked[1].baseline.adapter == refresh.folders[0]
    assert said.cells["small"]["explicit"] == STOPPED and said.errors == {}
    assert said.folders["small"]["explicit"] == refresh.folders[0]
    best = Path(refresh.folders[0]).name
    assert standing(tmp_path) == {
        "small": {"explicit": {"folder": f"runs/small/{best}", "stopped": True}}
    }
    assert refresh.said[-1].startswith(
        f"small x explicit: stopped: {Path(refresh.folders[1]).name} fell, score -2.00 [-2."
    )
    assert refresh.said[-1].endswith(f" of 6 readers); {best} is kept")
    report = (tmp_path / "out" / "early-stopping" / "report.md").read_text()
    assert "| 60 | 6 | score -2.00 [-2." in report and report.rstrip().endswith("| fell |")
    # Whatever arrives, and however often it is run.
    for dry in (True, False, False):
        again = refresh(dry=dry)
        assert again.cells["small"]["explicit"] == STOPPED and len(refresh.folders) == 2
        assert again.folders["small"]["explicit"] == refresh.folders[0]
        assert again.did == ([] if dry else again.did) and len(refresh.judge.asked) == 2


def test_with_other_settings_it_goes_on_from_the_best(refresh: Refresh, tmp_path: Path) -> None:
    refresh(1.0)
    refresh(-2.0)
    refresh.settings = {"beta": 0.5}
    outcome = refresh(0.5)
    assert outcome.cells["small"]["explicit"] == DONE
    asked = refresh.trainer.asked[-1]
    assert asked.settings["sft_adapter"] == refresh.folders[0] and asked.settings["beta"] == 0.5
    # The pairs of the run that fell are new again.
    assert pl.read_parquet(asked.pairs).height == 2
    assert standing(tmp_path)["small"]["explicit"] == {
        "folder": f"runs/small/{asked.folder.name}", "stopped": False
    }  # fmt: skip


def test_a_first_run_that_falls_leaves_what_it_started_from(
    refresh: Refresh, tmp_path: Path
) -> None:
    outcome = refresh(-2.0)
    assert outcome.cells["small"]["explicit"] == STOPPED
    assert "explicit" not in outcome.folders["small"]
    assert standing(tmp_path)["small"]["explicit"] == {"folder": None, "stopped": True}
    assert refresh().cells["small"]["explicit"] == STOPPED
    refresh.settings = {"beta": 0.5}
    refresh(1.0)
    assert "sft_adapter" not in refresh.trainer.asked[-1].settings


def test_a_dip_within_its_interval_goes_on_and_the_best_stays_the_measure(
    refresh: Refresh, tmp_path: Path
) -> None:
    refresh(1.0)
    second = refresh(-0.01)
    assert second.folders["small"]["explicit"] == refresh.folders[1]
    assert standing(tmp_path)["small"]["explicit"]["folder"].endswith(Path(refresh.folders[0]).name)
    refresh(-0.02)
    assert refresh.trainer.asked[2].settings["sft_adapter"] == refresh.folders[1]
    assert refresh.judge.asked[2].baseline.adapter == refresh.folders[0]
    assert refresh(more=0).cells["small"]["explicit"] == UP_TO_DATE


@pytest.mark.parametrize(
    "broken", [KeyboardInterrupt(), ConfigError("judge.model m.f gave no score: its score is nan")]
)
def test_nothing_is_trained_before_the_last_run_is_judged(
    refresh: Refresh, broken: BaseException, tmp_path: Path
) -> None:
    refresh(1.0)
    if isinstance(broken, Exception):
        outcome = refresh(broken)
        assert outcome.cells["small"]["explicit"] == FAILED
        assert "its score is nan" in outcome.errors["small x explicit"]
        assert "its score is nan" in refresh(broken).errors["small x explicit"]
    else:
        with pytest.raises(KeyboardInterrupt):
            refresh(broken)
        (state,) = (
            s
            for f in (tmp_path / "out" / "early-stopping" / "small").glob("*.json")
            if (s := json.loads(f.read_text()))["status"] == INTERRUPTED
        )
        assert state["run"] == Path(refresh.folders[1]).name
    assert len(refresh.folders) == 2
    best = {"folder": f"runs/small/{Path(refresh.folders[0]).name}", "stopped": False}
    assert standing(tmp_path)["small"]["explicit"] == best
    outcome = refresh(-2.0)
    assert outcome.cells["small"]["explicit"] == STOPPED and len(refresh.folders) == 2
    assert standing(tmp_path)["small"]["explicit"] == {**best, "stopped": True}


def test_a_pointer_that_a_kill_left_old_is_written_again(refresh: Refresh, tmp_path: Path) -> None:
    refresh(1.0)
    place = tmp_path / "out" / "early-stopping"
    right = standing(tmp_path)
    (place / "best.json").unlink()
    (place / "report.md").unlink()
    refresh(more=0)
    assert standing(tmp_path) == right and (place / "report.md").is_file()


def test_a_judged_run_that_is_gone_is_one_line(refresh: Refresh) -> None:
    refresh(1.0)
    Path(f"{refresh.folders[0]}.json").unlink()
    outcome = refresh()
    assert "is no finished run any more" in outcome.errors["small x explicit"]


def test_without_a_judge_it_is_refused(files: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="early_stopping is true, judge None"):
        run(files(early_stopping=True))


def test_a_whole_model_answers_by_itself() -> None:
    assert model_spec("new", "base", "run", full=True) == {
        "name": "new", "model": "run", "adapter": None
    }  # fmt: skip
    for full in (True, False):
        start = {"name": "start", "model": "base", "adapter": None}
        assert model_spec("start", "base", None, full=full) == start
