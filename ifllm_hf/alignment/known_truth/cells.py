"""One run of the grid: labels from somewhere, at a strength of behaviour and a share of clicks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ifllm_hf.alignment.dpo.losses import PREFERENCE_LOSSES
from ifllm_hf.errors import ConfigError, require_one_of

EXPLICIT, REWARD, BOTH, ALL, ORACLE = "explicit", "reward", "both", "all", "oracle"
TEXT, GAZE_MOUSE, ALL_GAZE_MOUSE = "text", "gaze+mouse", "all-gaze+mouse"
BEHAVIOR_ALONE = "gaze+mouse"
SOURCES = {
    EXPLICIT: (EXPLICIT, None),
    TEXT: (REWARD, "text"),
    GAZE_MOUSE: (REWARD, BEHAVIOR_ALONE),
    REWARD: (REWARD, "best"),
    BOTH: (BOTH, "best"),
    ALL: (ALL, "best"),
    ALL_GAZE_MOUSE: (ALL, BEHAVIOR_ALONE),
    ORACLE: (EXPLICIT, None),
}
"""`ifllm label --source` and `--inputs` of each. `oracle` is the answer that is truly better, as if
it had been clicked. `best`, the default of `ifllm label`, sees the lengths of the answers, too."""
SWAPPED, COIN, PERMUTED = "swapped", "coin", "permuted"
DAMAGES = (SWAPPED, COIN, PERMUTED)
"""Lines broken on purpose: chosen and rejected exchanged; exchanged in every other pair, by a coin,
which leaves what training on so many answers of its own does to a model; behaviour given to other
readers, which leaves that and the lengths."""
_BLIND_TO_STRENGTH = (EXPLICIT, TEXT, ORACLE)


@dataclass(frozen=True)
class TruthCell:
    """What one run depends on, beside the settings of the grid.

    Attributes:
        source: One of `SOURCES`.
        share: Share of the turns with a click; None for `oracle`, which asks nobody.
        strength: Probability that behaviour points to the answer that is liked; None where the
            source does not look at behaviour.
        seed: Of readers, answers, labels and training.
        loss: Preference loss.
        damage: One of `DAMAGES`; None: the line is whole.
    """

    source: str
    share: float | None
    strength: float | None
    seed: int
    loss: str = "cdpo"
    damage: str | None = None

    @classmethod
    def of(
        cls,
        source: str,
        share: float,
        strength: float,
        seed: int,
        *,
        loss: str = "cdpo",
        damage: str | None = None,
    ) -> TruthCell:
        """Return the cell, without what its source does not look at: so each is run once.

        Raises:
            ConfigError: There is no such source, loss or damage, or a number is out of its range.
        """
        require_one_of("sources", source, SOURCES)
        require_one_of("losses", loss, PREFERENCE_LOSSES)
        if damage is not None:
            require_one_of("damage", damage, DAMAGES)
        if not 0.5 <= strength <= 1:
            raise ConfigError(
                f"strengths: {strength} is no strength of behaviour; expected a probability from "
                "0.5 (tells nothing) to 1"
            )
        if not 0 < share <= 1:
            raise ConfigError(
                f"shares: {share} is no share of turns with a click; expected more than 0, since "
                "labels and the model of behaviour are made from clicks, and at most 1"
            )
        return cls(
            source=source,
            share=None if source == ORACLE else share,
            strength=None if source in _BLIND_TO_STRENGTH else strength,
            seed=seed,
            loss=loss,
            damage=damage,
        )

    def described(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @property
    def name(self) -> str:
        """A name for folders and messages.

        >>> TruthCell.of("all", 0.2, 0.75, 3).name
        'all-0.2-0.75-seed3'
        """
        parts = (self.source, self.share, self.strength, self.damage, f"seed{self.seed}")
        said = "-".join(str(part) for part in parts if part is not None)
        return said if self.loss == "cdpo" else f"{said}-{self.loss}"
