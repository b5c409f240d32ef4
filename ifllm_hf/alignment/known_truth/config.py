"""Settings of the grid, `recipes/known-truth-grid.yaml`, and what it shares with the waves.

The texts under `Attributes:` are what `recipes/known_truth.py --help` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ifllm_hf.alignment.known_truth.cells import TruthCell
from ifllm_hf.alignment.labels.noise import check_nu
from ifllm_hf.alignment.pairs.config import JUDGE_FOLD, PromptFormat
from ifllm_hf.alignment.policy.load import weights_id
from ifllm_hf.errors import ConfigError
from ifllm_hf.files import digest
from ifllm_hf.reward.pretrained.shipped import place_of_language_model
from ifllm_hf.training.settings_file import read_settings, read_yaml

_QUICK_CONVERSATIONS = 180


@dataclass(frozen=True)
class Block:
    """Cells that are run together: all its sources, shares, strengths, losses and damages.

    Attributes:
        name: What it is called.
        sources: explicit, text, gaze+mouse, reward, both, all, all-gaze+mouse, oracle.
        shares: Shares of the turns with a click.
        strengths: Of behaviour, 0.5 to 1.
        losses: Preference losses.
        damage: swapped, coin, permuted: lines broken on purpose; nothing: whole ones.
    """

    name: str
    sources: tuple[str, ...]
    shares: tuple[float, ...]
    strengths: tuple[float, ...]
    losses: tuple[str, ...] = ("cdpo",)
    damage: str | None = None

    def cells(self, seed: int) -> Iterator[TruthCell]:
        """Yield its cells of one seed; one that several settings share comes several times."""
        for share in self.shares:
            for strength in self.strengths:
                for source in self.sources:
                    for loss in self.losses:
                        yield TruthCell.of(
                            source, share, strength, seed, loss=loss, damage=self.damage
                        )


@dataclass(frozen=True, kw_only=True)
class TruthSettings:
    """What made-up readers, their questions and the training on their labels depend on.

    The classes that are filled from a YAML say what each setting is.
    """

    recipe: str
    seeds: tuple[int, ...]
    conversations: int = 360
    ticks_per_turn: int = 100
    taste_slope: float = 1.0
    click_error: float = 0.05
    answers: int = 4
    settings: dict[str, Any] = field(default_factory=dict)
    results: str | None = None
    output_dir: str = "outputs/known-truth"

    not_of_a_result: ClassVar[tuple[str, ...]] = (
        "recipe",
        "seeds",
        "results",
        "output_dir",
        "settings",
    )
    """What is no part of `family`: `settings` is in it together with the recipe's own."""

    def check_common(self, kind: str) -> None:
        """Check what can be known at once; `kind` is what it is called.

        Raises:
            ConfigError: A number out of its range, or a setting that is decided elsewhere.
        """
        if min(self.seeds) < 0 or self.answers < 1:
            raise ConfigError(
                f"seeds {list(self.seeds)}, answers {self.answers}; expected seeds from 0 and at "
                "least one answer"
            )
        check_nu(self.click_error)
        taken = {"dataset", "output_dir", "eval_fold", "seed", "preference_loss"} & {*self.settings}
        if taken:
            raise ConfigError(f"{min(taken)} is decided by the {kind}; remove it from settings")

    @cached_property
    def training(self) -> dict[str, Any]:
        """Settings of `recipes/dpo.py` that all runs share."""
        return {**read_yaml(self.recipe), "eval_fold": JUDGE_FOLD, **self.settings}

    @cached_property
    def style(self) -> PromptFormat:
        """How a question looks to the model."""
        known = PromptFormat.__dataclass_fields__
        return PromptFormat(**{k: v for k, v in self.training.items() if k in known})

    @property
    def model(self) -> str:
        """The base model: a folder, or a name on the Hub."""
        return place_of_language_model(str(self.training.get("model_name_or_path")))

    @cached_property
    def base(self) -> str:
        """Name and hash of the weights of the base model."""
        return str(weights_id(self.model))

    @cached_property
    def family(self) -> str:
        """12 hex digits of all that runs have in common: only runs of one family are compared."""
        said = {k: v for k, v in asdict(self).items() if k not in self.not_of_a_result}
        places = ("dataset", "output_dir", "seed", "preference_loss")
        training = {k: v for k, v in self.training.items() if k not in places}
        return digest({**said, "training": training, "base": self.base}, 12)

    @property
    def out(self) -> Path:
        """The output folder."""
        return Path(self.output_dir)

    @property
    def results_file(self) -> Path:
        """Where the lines are."""
        return self.out / "results.jsonl" if self.results is None else Path(self.results)


@dataclass(frozen=True, kw_only=True)
class TruthGrid(TruthSettings):
    """Label sources x click shares x strengths of behaviour x seeds.

    Attributes:
        recipe: YAML of `recipes/dpo.py`, relative to this file; its model answers, too.
        blocks: Cells that are run together, block after block.
        seeds: Of readers, answers, labels and training; in a block, one after the other.
        conversations: Of a made-up release.
        ticks_per_turn: Mean number of recorded ticks of a turn.
        taste_slope: How much a point of the true score counts for readers, in log odds.
        click_error: Share of the clicks that name the answer that is not liked.
        answers: Sampled for each question of a held-out reader.
        settings: Settings of `recipes/dpo.py` beside the recipe's own.
        results: File that each cell adds a line to; nothing: one in `output_dir`.
        output_dir: Folder for data, labels and adapters.
    """

    blocks: tuple[Block, ...]

    not_of_a_result: ClassVar[tuple[str, ...]] = (*TruthSettings.not_of_a_result, "blocks")

    def __post_init__(self) -> None:
        """Check what can be known at once.

        Raises:
            ConfigError: Nothing to run, or a number out of its range.
        """
        if not self.seeds or not self.cells():
            raise ConfigError("seeds or blocks is empty; name at least one seed and one cell")
        self.check_common("grid")

    def cells(self) -> list[TruthCell]:
        """Return every cell once: block after block, in a block seed after seed."""
        every = (cell for b in self.blocks for seed in self.seeds for cell in b.cells(seed))
        return list(dict.fromkeys(every))

    def key(self, cell: TruthCell) -> str:
        """Return 16 hex digits of all that the result of a cell depends on, but versions."""
        return digest({"family": self.family, **cell.described()}, 16)

    def quick(self) -> TruthGrid:
        """Return a smaller grid, with results of its own: the first block, one seed, few readers.

        Its results go to `output_dir` with `-quick` after its name.
        """
        return replace(
            self,
            blocks=self.blocks[:1],
            seeds=self.seeds[:1],
            conversations=min(self.conversations, _QUICK_CONVERSATIONS),
            results=None,
            output_dir=f"{self.output_dir}-quick",
        )


def read_grid(path: Path | str, overrides: Sequence[str] = ()) -> TruthGrid:
    """Read a grid; `recipe` is taken relative to its file.

    Raises:
        ConfigError: A file or a setting that cannot be used.
    """
    grid = read_settings(TruthGrid, path, overrides)
    return replace(grid, recipe=str(Path(path).parent / grid.recipe))
