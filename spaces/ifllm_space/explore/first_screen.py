"""The turn that the page opens with, by a rule that the page says, and what models guess of turns.

Every guess is of models that never saw the reader: those of the reader's fold (`RewardByFold`).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from ifllm_hf.data.prepared.folder import config_files
from ifllm_hf.errors import DataError
from ifllm_hf.files import read_parquet
from ifllm_space.demo_data import DemoData
from ifllm_space.page_numbers import number
from ifllm_space.pickers import first_turn

CHARS = 900
"""Answers up to so many characters are seen whole."""

_TURN = ("query_id", "user_id", "preference", "fold", "turn", "prompt", "response_a", "response_b")
_DWELL = tuple(f"{c}_dwell_ms_{side}" for c in ("mouse", "gaze") for side in "ab")
_GUESSES = ("text", "length", "behavior")


@dataclass(frozen=True)
class Opening:
    """What the page opens with.

    Attributes:
        query_id: The turn.
        rule: How it was chosen, in a line.
        guesses: `query_id` and P(b preferred) by `text` (words alone), by `length` (length and
            behaviour, behaviour left out) and by `behavior`; no rows where nothing could be fitted.
    """

    query_id: int
    rule: str
    guesses: pl.DataFrame

    def guess(self, query_id: int) -> dict[str, float | None] | None:
        """Return the guesses of a turn, JSON-ready; None where there are none."""
        found = self.guesses.filter(pl.col("query_id") == query_id)
        return {name: number(found[name][0]) for name in _GUESSES} if len(found) else None


def opening(data: DemoData) -> Opening:
    """Choose the turn to open with.

    It is, of the pairs with answers of at most `CHARS` characters and mouse and gaze on both, the
    one that behaviour moved furthest from a wrong guess to the right one, words alone being wrong
    as well; ties by the lower id. Where there is none: `first_turn`.
    """
    try:
        known = _guessed(data)
    except DataError:
        known = pl.DataFrame(schema={"query_id": pl.Int64, **dict.fromkeys(_GUESSES, pl.Float64)})
        return Opening(first_turn(data.index), _BY_TICKS, known)
    sign = pl.when(pl.col("preference") == "b").then(1.0).otherwise(-1.0)
    right = {name: (pl.col(name) - 0.5) * sign for name in _GUESSES}
    told = known.filter(pl.col("preference").is_in(["a", "b"]))
    corrected = told.filter(right["text"] < 0, right["length"] < 0, right["behavior"] > 0)
    misled = told.filter(right["text"] > 0, right["length"] > 0, right["behavior"] < 0)
    shown = corrected.filter(
        *(pl.col(f"response_{side}").str.len_chars() <= CHARS for side in "ab"),
        *(pl.col(name) > 0 for name in _DWELL),
    ).sort((right["length"] - right["behavior"]), "query_id")
    guesses = known.select("query_id", *_GUESSES)
    if shown.is_empty():
        return Opening(first_turn(data.index), _BY_TICKS, guesses)
    rule = (
        f"Chosen by a rule, and not typical: in {len(corrected)} of {len(told)} pairs words alone "
        f"and length alone guess wrong and behaviour puts it right (in {len(misled)} it does the "
        f"reverse). Of those with answers up to {CHARS} characters, and mouse and gaze on both, "
        "this is the one it moved most."
    )
    return Opening(int(shown["query_id"][0]), rule, guesses)


_BY_TICKS = (
    "Chosen by a rule: two answers, a preference, and the most samples of mouse and gaze up to "
    "1500. No pair here is short, recorded on both answers, and put right by behaviour."
)


def _guessed(data: DemoData) -> pl.DataFrame:
    """Return the pairs with their guesses."""
    features = data.features.drop("contaminated")
    pairs = read_parquet(config_files(data.folder, "pairwise"), list(_TURN))
    rows = pairs.join(features, on="query_id", how="left")
    none = [pl.lit(None, pl.Float64).alias(n) for n in features.columns if n not in _TURN]
    parts = []
    for (fold,), part in rows.group_by("fold"):
        k = int(str(fold))
        parts.append(
            part.with_columns(
                text=pl.Series(data.reward.from_text(part, k)),
                length=pl.Series(data.reward.from_reading(part.with_columns(none), k)),
                behavior=pl.Series(data.reward.from_reading(part, k)),
            )
        )
    return pl.concat(parts)
