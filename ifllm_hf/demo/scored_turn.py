"""One turn for the page: chosen by a rule, scored by a head that has not seen its reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ifllm_hf.demo.facts import ScoredTurn


def score_a_turn(files: Sequence[Path], turns: pl.DataFrame) -> ScoredTurn | None:
    """Choose the turn that the dataset card shows too, and say what the built-in model makes of it.

    Args:
        files: The shards of the config `pairwise`.
        turns: All their rows: the earlier turns of that reader tell the habit.

    Returns:
        The turn; None where no turn has ticks.
    """
    from ifllm_hf.hub.cards.shown_turn import choose_turn
    from ifllm_hf.metrics.ridge import sigmoid
    from ifllm_hf.reward.explain.evidence_parts import explain_evidence
    from ifllm_hf.reward.explain.in_words import in_words
    from ifllm_hf.reward.pretrained.heads import ALL, Heads
    from ifllm_hf.reward.pretrained.shipped import pretrained
    from ifllm_hf.reward.scoring.load_scorer import load_scorer

    chosen = choose_turn(files)
    if chosen is None:
        return None
    row = chosen.row
    place = pretrained()
    model, processor = load_scorer(str(place))
    heads = Heads.of(place)
    head = ALL
    if heads is not None:
        head = heads.for_reader(row["user_id"])
        heads.use(head, model)
    answers = [row["response_a"] or "", row["response_b"] or ""]
    found = explain_evidence(
        model, processor, row["prompt"], answers, row, history=_earlier(row, turns)
    )
    parts = {
        "length of the answers": found.length,
        "where the mouse was": found.mouse,
        "where the eyes were": found.gaze,
        "the reader's habit, taken off": found.habit,
        "all else": found.rest,
    }
    p_b = float(sigmoid(np.array(found.lead)))
    number = turns["query_id"].index_of(row["query_id"])
    assert number is not None  # both were read from the same folder
    return ScoredTurn(row, number, head, parts, found.lead, p_b, in_words(found))


def _earlier(row: Mapping[str, Any], turns: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the turns that a reader had read before."""
    before = (pl.col("user_id") == row["user_id"]) & (pl.col("asked_at") < row["asked_at"])
    return turns.filter(before).sort("asked_at").to_dicts()
