"""Cells: each once, none with what its source does not look at; settings that nothing could use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ifllm_hf.alignment.known_truth.cells import TruthCell
from ifllm_hf.alignment.known_truth.config import Block, TruthGrid, read_grid
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import shipped_folder

GRID = shipped_folder("recipes") / "known-truth-grid.yaml"


def test_what_a_source_does_not_look_at_is_not_in_its_cell() -> None:
    assert TruthCell.of("explicit", 0.2, 0.75, 0) == TruthCell.of("explicit", 0.2, 0.95, 0)
    assert TruthCell.of("text", 0.2, 0.75, 0) == TruthCell.of("text", 0.2, 0.95, 0)
    assert TruthCell.of("oracle", 0.2, 0.75, 0) == TruthCell.of("oracle", 0.05, 0.95, 0)
    assert TruthCell.of("reward", 0.2, 0.75, 0) != TruthCell.of("reward", 0.2, 0.95, 0)
    assert TruthCell.of("all", 0.2, 0.75, 0) != TruthCell.of("all", 0.05, 0.75, 0)


def test_the_committed_grid_begins_with_the_core_and_runs_each_cell_once() -> None:
    grid = read_grid(GRID)
    cells = grid.cells()
    assert len(cells) == len(set(cells)) == len({grid.key(cell) for cell in cells})
    assert grid.seeds == (0, 1, 2, 3, 4)
    of_core = cells[: 6 * len(grid.seeds)]
    assert {cell.source for cell in of_core} == {"explicit", "all", "all-gaze+mouse", "oracle"}
    assert [cell.seed for cell in of_core] == sorted(cell.seed for cell in of_core)
    assert {(c.share, c.strength) for c in of_core if c.source == "all"} == {
        (0.2, 0.75),
        (0.2, 0.95),
    }
    whole = [c for c in cells if c.damage is None and c.loss == "cdpo" and c.seed == 0]
    assert {c.share for c in whole if c.source == "all"} == {0.05, 0.2, 1.0}
    assert {c.strength for c in whole if c.source == "reward"} == {0.6, 0.75, 0.95}
    assert {c.damage for c in cells} == {None, "swapped", "coin", "permuted"}
    assert {c.loss for c in cells} == {"cdpo", "rdpo_paper", "dpo"}


def test_a_result_depends_on_its_settings_and_not_on_places() -> None:
    grid = read_grid(GRID)
    cell = grid.cells()[0]
    assert replace(grid, output_dir="x", results="y", seeds=(7,)).key(cell) == grid.key(cell)
    for other in (
        replace(grid, conversations=40),
        replace(grid, answers=2),
        replace(grid, settings={"learning_rate": 1e-4}),
        replace(grid, click_error=0.1),
    ):
        assert other.family != grid.family and other.key(cell) != grid.key(cell)


def test_another_base_is_another_family(monkeypatch: pytest.MonkeyPatch) -> None:
    where = "ifllm_hf.alignment.known_truth.config.weights_id"
    families = []
    for base in ("known-truth 1", "known-truth 2"):
        monkeypatch.setattr(where, lambda place, base=base: base)
        families.append(read_grid(GRID).family)
    assert families[0] != families[1]


def test_quick_is_small_and_keeps_its_results_to_itself() -> None:
    grid = read_grid(GRID)
    quick = grid.quick()
    assert quick.results_file == Path("outputs/known-truth-quick/results.jsonl")
    assert len(quick.cells()) == 6 and quick.conversations < grid.conversations


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"strengths": (0.4,)}, "strengths: 0.4 .* from 0.5"),
        ({"strengths": (1.2,)}, "strengths: 1.2"),
        ({"shares": (0.0,)}, "shares: 0.0 .* more than 0"),
        ({"shares": (1.5,)}, "shares: 1.5"),
        ({"sources": ("clicks",)}, "sources is 'clicks'; expected one of explicit"),
        ({"losses": ("dpoo",)}, "losses is 'dpoo'"),
        ({"damage": "bent"}, "damage is 'bent'"),
        ({"sources": ()}, "seeds or blocks is empty"),
    ],
)
def test_what_no_cell_could_be_is_one_line_before_anything_runs(given: dict, said: str) -> None:
    block = replace(Block("b", ("all",), (0.2,), (0.75,)), **given)
    with pytest.raises(ConfigError, match=said):
        TruthGrid(recipe="x.yaml", blocks=(block,), seeds=(0,))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seeds": ()}, "seeds or blocks is empty"),
        ({"seeds": (-1,)}, "seeds from 0"),
        ({"answers": 0}, "at least one answer"),
        ({"click_error": 0.5}, "share of wrong clicks"),
        ({"settings": {"seed": 3}}, "seed is decided by the grid"),
    ],
)
def test_what_no_grid_could_be_is_one_line(given: dict, said: str) -> None:
    block = Block("b", ("all",), (0.2,), (0.75,))
    with pytest.raises(ConfigError, match=said):
        TruthGrid(**{"recipe": "x.yaml", "blocks": (block,), "seeds": (0,), **given})
