"""A small grid from end to end: it is seen when a line is broken, and what is done stays done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ifllm_hf.alignment.known_truth import cell_run
from ifllm_hf.alignment.known_truth import run as grid_run
from ifllm_hf.alignment.known_truth.cell_labels import RightLabels
from ifllm_hf.alignment.known_truth.config import Block, TruthGrid
from ifllm_hf.alignment.known_truth.results_file import read_results
from ifllm_hf.alignment.known_truth.run import run_grid
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD
from ifllm_hf.errors import ConfigError, DataError
from ifllm_hf.files import shipped_folder

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def small(out: Path, *blocks: Block, **given: Any) -> TruthGrid:
    return TruthGrid(
        recipe=str(shipped_folder("recipes") / "configs" / "known-truth.yaml"),
        blocks=blocks,
        seeds=(0,),
        output_dir=str(out),
        **given,
    )


TRUTH = Block("truth", ("oracle",), (0.2,), (0.75,))
EXCHANGED = replace(TRUTH, name="exchanged", damage="swapped")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[TruthGrid, dict[str, Any]]:
    """The truth as labels, and the same with chosen and rejected exchanged."""
    grid = small(
        tmp_path_factory.mktemp("grid"),
        TRUTH,
        EXCHANGED,
        conversations=60,
        answers=2,
        settings={"num_train_epochs": 3, "per_device_train_batch_size": 8, "disable_tqdm": True},
    )
    outcome = run_grid(grid)
    assert outcome.errors == {} and outcome.ran == 2
    return grid, {r["damage"]: r for r in read_results(grid.results_file).values()}


def rise(record: Any) -> float:
    n, before, after = (sum(sums[k] for sums in record["readers"].values()) for k in range(3))
    return float((after - before) / n)


def test_the_true_score_rises_with_the_truth_and_falls_when_it_is_exchanged(both: Any) -> None:
    records = both[1]
    assert rise(records[None]) > 0.2
    assert rise(records["swapped"]) < -0.2


def test_a_line_says_all_that_the_report_needs(both: Any) -> None:
    grid, records = both
    one = records[None]
    assert one["base"] == grid.base and one["family"] == grid.family
    assert one["labels"]["right"] == one["labels"]["decided"] > 50
    answers = sum(sums[0] for sums in one["readers"].values())
    assert answers == one["parts"]["before"]["answers"] == one["parts"]["after"]["answers"]
    assert {"torch", "trl", "ifllm-hf"} <= set(one["versions"])
    assert records["swapped"]["readers"].keys() == one["readers"].keys()
    assert len(json.dumps(one)) < 4000
    assert (grid.out / "report.md").is_file() and (grid.out / "rise.png").is_file()


def test_what_has_a_line_is_not_run_again(both: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grid, records = both

    def never(*_: Any) -> None:
        raise AssertionError("ran again")

    monkeypatch.setattr("ifllm_hf.alignment.known_truth.cell_run.train", never)
    again = run_grid(grid)
    assert (again.ran, again.there, again.errors) == (0, 2, {})
    # As a fresh clone has it: the lines, and nothing of what they were made from.
    kept = grid.results_file
    elsewhere = replace(grid, output_dir=f"{grid.output_dir}-fresh", results=str(kept))
    assert run_grid(elsewhere).there == 2
    lines = kept.read_text().splitlines()
    (kept.parent / "fewer.jsonl").write_text(lines[0] + "\n")
    fewer = run_grid(replace(grid, results=str(kept.parent / "fewer.jsonl")))
    assert fewer.there == 1 and list(fewer.errors.values()) == ["AssertionError: ran again"]


def test_another_base_or_other_settings_are_not_mixed(both: Any) -> None:
    grid = replace(both[0], answers=3)
    said: list[str] = []
    with pytest.raises(ConfigError, match="no line of these settings"):
        run_grid(grid, say=said.append, report_alone=True)
    assert "2 lines are of other settings or another base model" in said[0]


def test_a_cell_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: Any
) -> None:
    grid = small(tmp_path, replace(TRUTH, sources=("explicit", "all")))

    def one_works(grid: TruthGrid, cell: Any) -> Any:
        if cell.source == "explicit":
            raise DataError("nobody clicked")
        return {**record(), "family": grid.family, "key": grid.key(cell)}

    monkeypatch.setattr("ifllm_hf.alignment.known_truth.cell_run.run_cell", one_works)
    said: list[str] = []
    outcome = run_grid(grid, say=said.append)
    assert outcome.errors == {"explicit-0.2-seed0": "nobody clicked"} and outcome.ran == 1
    assert said[0] == "explicit-0.2-seed0: failed: nobody clicked"
    assert outcome.report is not None and grid_run.read_results(grid.results_file)


def test_more_turns_than_questions_is_one_line(tmp_path: Path) -> None:
    grid = small(tmp_path, TRUTH, conversations=2000)
    (said,) = run_grid(grid).errors.values()
    assert said.startswith("conversations is 2000: ") and "4301 questions; lower it" in said


def test_labels_that_say_nothing_leave_the_model_as_it_is(
    both: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def says_nothing(cell: Any, world: Any, out: Path, *, nu: float) -> RightLabels:
        return RightLabels(0, 0, 0.0, 0, 0, 0, {"all": 9}, [])

    grid = replace(both[0], results=str(tmp_path / "results.jsonl"), blocks=(TRUTH,))
    monkeypatch.setattr("ifllm_hf.alignment.known_truth.cell_run.label_cell", says_nothing)
    outcome = run_grid(grid)
    (line,) = read_results(grid.results_file).values()
    assert outcome.errors == {} and rise(line) == 0
    assert outcome.report is not None and "| 0 | nan | +0.00 [" in outcome.report.read_text()


def test_pairs_of_no_held_out_reader_are_trained_on(
    both: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(cell_run, "train", lambda training, launch: seen.append(training))
    for held_out in (3, 0):
        cell_run._train(both[0], both[0].cells()[0], tmp_path / "p", tmp_path / "f", held_out)
    assert [training.settings["eval_fold"] for training in seen] == [JUDGE_FOLD, None]
