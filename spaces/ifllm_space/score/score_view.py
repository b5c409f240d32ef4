"""A turn with what the rewards say of it, as the page draws it."""

from __future__ import annotations

from typing import Any

import polars as pl

from ifllm_hf.metrics.weighted import FloatArray
from ifllm_hf.reward.baselines.by_fold import RewardByFold
from ifllm_hf.reward.explain.what_moved import (
    Part,
    moments_that_moved,
    passages_that_moved,
    score_over_time,
    words_that_moved,
)
from ifllm_space.explore.turn_view import turn_view
from ifllm_space.page_numbers import number
from ifllm_space.score.reasons import reasons
from ifllm_space.score.trained_reward import TrainedReward

TEXT = (
    "Chance that B is preferred, from the words alone: logistic regression on TF-IDF, a word "
    "counting for one answer against the other."
)
WITH_BEHAVIOR = (
    "From the length of the answers and from where mouse and gaze rested towards the end of "
    "reading: the model that labels are made with."
)


def score_view(
    turn: dict[str, Any],
    reward: RewardByFold,
    fold: int | None,
    model: TrainedReward | None = None,
) -> dict[str, Any]:
    """Score a turn.

    Args:
        turn: A row of the `pairwise` config, or `own_turn`'s.
        reward: The rewards.
        fold: The fold that the models must not have seen; None if the texts are nobody's.
        model: A trained reward model to score with as well.

    Returns:
        `turn_view` with `rewards`: P(B preferred) by `text`; what it `says`; `words` that moved it,
        and, if there is behaviour in reading, `behavior`: P, the `reasons` in sentences, the course
        of it `over_time`, and the `passages` and `moments` that moved it; and the view of `model`.
    """
    view = turn_view(turn)
    view["rewards"] = rewards = {
        "says": {"text": TEXT, "behavior": WITH_BEHAVIOR, "trained": trained(reward, fold)}
    }

    def text(rows: pl.DataFrame) -> FloatArray:
        return reward.from_text(rows, fold)

    def both(rows: pl.DataFrame) -> FloatArray:
        return reward.from_reading(rows, fold)

    ends, course = score_over_time(turn, both)
    plain = pl.DataFrame({name: [turn[name]] for name in ("response_a", "response_b")})
    rewards["text"] = number(float(text(plain)[0]))
    rewards["words"] = _parts(words_that_moved(turn, text))
    rewards["model"] = model and model.view(turn)
    rewards["behavior"] = None
    if ends:
        t_ms = view["ticks"]["t_ms"]
        last = len(t_ms) - 1
        rewards["behavior"] = {
            "chance": number(float(course[-1])),
            "reasons": reasons(turn, reward.readings_of(fold)),
            "over_time": {
                "t_ms": [t_ms[end - 1] for end in ends],
                "chance": [number(float(p)) for p in course],
            },
            "passages": _parts(passages_that_moved(turn, both)),
            "moments": [
                {
                    "from_ms": t_ms[m.first],
                    "to_ms": t_ms[min(m.stop, last)],
                    "change": number(m.change),
                }
                for m in moments_that_moved(turn, both)
            ],
        }
    return view


def trained(reward: RewardByFold, fold: int | None) -> str:
    """Say what the models are and what they have seen."""
    facts = reward.trained_on
    where = {
        "synthetic": "made-up data: no person stands behind it",
        "release": "the public release",
        "sessions": "collected sessions",
    }[facts.source]
    unseen = (
        "They never saw these texts."
        if fold is None
        else "They were fitted without this pair, its reader and everyone of the same fold."
    )
    return (
        f"Small models, fitted on {facts.pairs} pairs of {facts.readers} readers from {where}. "
        f"{unseen} Take them as an illustration, not as a verdict."
    )


def _parts(parts: list[Part]) -> list[tuple[int, int, int, float | None]]:
    """Return side (0 left, 1 right), first character, past the last, change."""
    return [("ab".index(p.side), p.start, p.stop, number(p.change)) for p in parts]
