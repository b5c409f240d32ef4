"""Settings of the waves: `recipes/known-truth-waves.yaml`.

The texts under `Attributes:` are what `recipes/known_truth.py --help` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from ifllm_hf.alignment.known_truth.cells import SOURCES, TruthCell
from ifllm_hf.alignment.known_truth.config import TruthSettings
from ifllm_hf.alignment.pipeline.config import LabelSource
from ifllm_hf.errors import ConfigError, require_one_of
from ifllm_hf.files import digest
from ifllm_hf.training.settings_file import read_settings, read_yaml

_QUICK_CONVERSATIONS, _QUICK_WAVES, _QUICK_ARMS = 60, 2, 2
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
_DECIDED = {"dataset", "output_dir", "eval_fold", "seed"}
_NOT_HERE = ("oracle",)


@dataclass(frozen=True)
class WaveArm:
    """A policy that learns from its own readers, wave after wave.

    Attributes:
        name: Name in the report and of folders.
        source: explicit, text, gaze+mouse, reward, both, all, all-gaze+mouse.
        strength: Of the behaviour of its readers, 0.5 to 1.
        settings: Settings of `recipes/dpo.py` for this arm alone.
    """

    name: str
    source: str
    strength: float
    settings: dict[str, Any] = field(default_factory=dict)

    def labels(self, nu: float, seed: int) -> LabelSource:
        """Return the label source, as a YAML of the pipeline would have it."""
        source, inputs = SOURCES[self.source]
        return LabelSource(self.name, source, inputs or "best", nu=nu, seed=seed)


@dataclass(frozen=True, kw_only=True)
class TruthWaves(TruthSettings):
    """Waves x arms x seeds.

    Attributes:
        recipe: YAML of `recipes/dpo.py`, relative to this file; its model answers, too.
        judge: YAML of `recipes/judge.py`, relative to this file; it decides what stops.
        arms: What is compared.
        seeds: Of readers, answers, labels and training.
        waves: How many.
        early_stopping: Whether an arm ends when judges find its model worse than its best so far.
        min_new_pairs: A wave with fewer new pairs trains nothing; its pairs wait.
        share: Of the turns with a click.
        conversations: Of a wave.
        ticks_per_turn: Mean number of recorded ticks of a turn.
        taste_slope: How much a point of the true score counts for readers, in log odds.
        click_error: Share of the clicks that name the answer that is not liked.
        answers: Sampled for each question of a held-out reader.
        settings: Settings of `recipes/dpo.py` beside the recipe's own.
        results: File that each wave adds a line to; nothing: one in `output_dir`.
        output_dir: Folder for data, labels and adapters.
    """

    judge: str
    arms: tuple[WaveArm, ...]
    waves: int = 5
    early_stopping: bool = True
    min_new_pairs: int = 1
    share: float = 0.2

    not_of_a_result: ClassVar[tuple[str, ...]] = (
        *TruthSettings.not_of_a_result,
        "judge",
        "arms",
    )

    def __post_init__(self) -> None:
        """Check what can be known at once.

        Raises:
            ConfigError: Nothing to run, a number out of its range, or two arms of one name.
        """
        if not self.seeds or not self.arms or self.waves < 1:
            raise ConfigError(
                f"waves {self.waves}, {len(self.arms)} arms, {len(self.seeds)} seeds; expected at "
                "least one of each"
            )
        if self.min_new_pairs < 1:
            raise ConfigError(f"min_new_pairs is {self.min_new_pairs}; expected 1 or more")
        self.check_common("waves")
        names = [arm.name for arm in self.arms]
        for arm in self.arms:
            if names.count(arm.name) > 1 or not _NAME.fullmatch(arm.name):
                raise ConfigError(
                    f"arms: {arm.name!r} names {names.count(arm.name)} of them; expected a name "
                    "for each, of letters, digits and .+_-"
                )
            require_one_of("source", arm.source, [s for s in SOURCES if s not in _NOT_HERE])
            if taken := _DECIDED & {*arm.settings}:
                raise ConfigError(
                    f"{min(taken)} is decided by the waves; remove it from settings of {arm.name}"
                )
            TruthCell.of(arm.source, self.share, arm.strength, 0)  # says what is out of range

    @cached_property
    def family(self) -> str:
        """12 hex digits of all that waves have in common, the judge among it."""
        return digest([super().family, read_yaml(self.judge)], 12)

    def key(self, arm: WaveArm, seed: int, wave: int) -> str:
        """Return 16 hex digits of all that the result of a wave depends on, but versions."""
        said = {k: v for k, v in asdict(arm).items() if k != "name"}
        return digest({"family": self.family, "seed": seed, "wave": wave, **said}, 16)

    def quick(self) -> TruthWaves:
        """Return a smaller one, with results of its own: two waves of two arms, few readers.

        Its results go to `output_dir` with `-quick` after its name.
        """
        return replace(
            self,
            arms=self.arms[:_QUICK_ARMS],
            seeds=self.seeds[:1],
            waves=min(self.waves, _QUICK_WAVES),
            conversations=min(self.conversations, _QUICK_CONVERSATIONS),
            results=None,
            output_dir=f"{self.output_dir}-quick",
        )


def read_waves(path: Path | str, overrides: Sequence[str] = ()) -> TruthWaves:
    """Read the settings; `recipe` and `judge` are taken relative to their file.

    Raises:
        ConfigError: A file or a setting that cannot be used.
    """
    waves = read_settings(TruthWaves, path, overrides)
    here = Path(path).parent
    return replace(waves, recipe=str(here / waves.recipe), judge=str(here / waves.judge))
