"""Which baselines run in a benchmark, under which names; and the one that labels use."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ifllm_hf.reward.baselines.boosting import AntisymmetricBooster
from ifllm_hf.reward.baselines.forest import PAPER_PREFIX, PaperForest
from ifllm_hf.reward.baselines.late_reading import COMPANIONS, LateReading
from ifllm_hf.reward.baselines.linear import AntisymmetricLR
from ifllm_hf.reward.baselines.pointwise import PointwiseRidge
from ifllm_hf.reward.baselines.text_models import EncoderLR, TfidfLR, local_encoder

if TYPE_CHECKING:
    from ifllm_hf.reward.baselines.protocol import Model

TEXT_MODEL = "TF-IDF LR"
PAPER_MODEL = "the paper's forest"
LATE = ("pooled_late_20pct_log_ratio", "pooled_late_20pct_log_ratio_vs_own")
"""The simplest strong pair of columns: the end of reading, as it is and against the habit."""
_TOLD = ("late_20pct", "dwell_ms", "coverage", "depth")
GAZE = tuple(f"gaze_{name}_log_ratio" for name in _TOLD)
MOUSE = tuple(f"mouse_{name}_log_ratio" for name in _TOLD)
FIRST_TRY = (
    "either_dwell_ms_log_ratio",
    "either_recency_15s_ms_log_ratio",
    "mouse_coverage_log_ratio",
    "mouse_visits_log_ratio",
)
STILL_PREFIX, WHOLE_PREFIX = "still_", "whole_"
"""Before the names of features of other ticks: gaze with the mouse still; the whole turn."""


@dataclass(frozen=True)
class Choice:
    """Models to run, and which were left out.

    Attributes:
        models: In the order of the table.
        skipped: Name -> why.
    """

    models: list[Model]
    skipped: dict[str, str] = field(default_factory=dict)


def default_model() -> LateReading:
    """Return the model that labels and rewards use unless told otherwise."""
    return LateReading()


def first_behavior_model() -> AntisymmetricLR:
    """Return a small model that is fitted in milliseconds."""
    return AntisymmetricLR("late reading LR", LATE)


def preference_models(columns: Collection[str], *, quick: bool = False) -> Choice:
    """Return the models of the pairwise benchmark that the columns allow.

    Args:
        columns: Columns of the rows: our features, and `paper_...` if joined.
        quick: Leave out the slow ones.
    """
    models: list[Model] = [
        TfidfLR(TEXT_MODEL),
        AntisymmetricLR("first try LR", FIRST_TRY, penalty=500.0),
        first_behavior_model(),
        LateReading(),
    ]
    skipped: dict[str, str] = {}
    if quick:
        return Choice(models, skipped)
    folder, why = local_encoder()
    if folder is None:
        skipped[EncoderLR.name] = why
    else:
        models.append(EncoderLR(folder=folder))
    forest = _forest(PAPER_MODEL, "pairwise", columns)
    if forest is None:
        skipped[PAPER_MODEL] = "its features need recorded text windows, which are not there"
    else:
        models.append(forest)
    return Choice(models, skipped)


def ablation_models(columns: Collection[str]) -> list[Model]:
    """Return what is scored held out by worker only: variants, channels alone and added.

    Args:
        columns: Columns of the rows: our features, and `still_...` and `whole_...` if joined.
    """
    channels = {"gaze": GAZE, "mouse": MOUSE, "gaze and mouse": (*GAZE, *MOUSE)}
    models: list[Model] = [
        LateReading("late reading, one chosen inside", choose="inner"),
        LateReading("late reading, ten weights", choose="mean"),
        LateReading("late reading with companions", accompanied=True),
        AntisymmetricBooster("booster", (*LATE, *COMPANIONS)),
        AntisymmetricLR("gaze alone", GAZE, length=False),
        AntisymmetricLR("mouse alone", MOUSE, length=False),
        AntisymmetricLR("gaze and mouse", (*GAZE, *MOUSE), length=False),
        *(AntisymmetricLR(f"length + {name}", names) for name, names in channels.items()),
        *(TfidfLR(f"text + {name}", names) for name, names in channels.items()),
        text_with_and_without_behavior()[1],
    ]
    still = tuple(STILL_PREFIX + name for name in GAZE)
    if set(still) <= set(columns):
        models.append(AntisymmetricLR("length + gaze, mouse still", still))
    whole = tuple(WHOLE_PREFIX + name for name in LATE)
    if set(whole) <= set(columns):
        models.append(AntisymmetricLR("late reading LR, whole turn", whole, contaminated=True))
    forests = (_forest(f"{PAPER_MODEL}, {c}", f"pairwise_{c}", columns) for c in ("gaze", "mouse"))
    return [*models, *(forest for forest in forests if forest is not None)]


def text_with_and_without_behavior() -> tuple[TfidfLR, TfidfLR]:
    """Return the text model and the same with the end of reading added."""
    return TfidfLR(TEXT_MODEL), TfidfLR("text + late reading", LATE)


def _forest(title: str, which: str, columns: Collection[str]) -> PaperForest | None:
    """Return the paper's forest on one of its lists, None if the columns are not there."""
    from ifllm_hf.behavior.paper.features import paper_feature_set

    listed = [PAPER_PREFIX + c for c in paper_feature_set(which, existing=True)]
    return PaperForest(title, listed) if set(listed) <= set(columns) else None


def rating_models() -> list[Model]:
    """Return the models of the task `likert`."""
    return [
        PointwiseRidge("length ridge", binary=False, columns=()),
        PointwiseRidge("behaviour ridge", binary=False),
    ]


def better_models() -> list[Model]:
    """Return the models of the task `better_than_previous`."""
    return [
        PointwiseRidge("length LR (one answer)", binary=True, columns=()),
        PointwiseRidge("behaviour LR", binary=True),
    ]
