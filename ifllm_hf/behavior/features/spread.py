"""How dwell spreads over an answer: coverage, depth, sentences and paragraphs, entropy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ifllm_hf.behavior.answer_text import Answers, Units
from ifllm_hf.behavior.declaration import Feature, FloatArray, IntArray, Values, per_channel, ratio
from ifllm_hf.behavior.quantities import INF, SHARE
from ifllm_hf.behavior.reading_ticks import ChannelTicks

BLOCK_CHARS = 40
PARTS = 10
TOP_PARAGRAPHS = (1, 3)

_depth = partial(
    per_channel, source="Lagun & Lalmas 2016, reading depth and engagement in news articles"
)
_spread = partial(
    per_channel, source="Shannon 1948; Krejtz et al. 2014, entropy of gaze over areas of interest"
)
_region = partial(
    per_channel, source="Buscher et al. 2012, attentive documents (time per text region)"
)

SPREAD: tuple[Feature, ...] = (
    *_depth(
        "coverage",
        f"share of the answer's blocks of {BLOCK_CHARS} characters that were visited",
        *SHARE,
    ),
    *_depth("depth", "(furthest character + 1) / characters; 0 if never visited", *SHARE),
    *_depth("position_mean", "mean over dwell of (character + 0.5) / characters", *SHARE),
    *_spread(
        "spread_entropy",
        f"-Σ p ln p / ln {PARTS} over the share p of dwell in {PARTS} equal parts of the answer",
        *SHARE,
    ),
    *_spread("sentence_entropy_bits", "-Σ p log2 p over sentences", "bit", 0, INF),
    *_spread("paragraph_entropy_bits", "-Σ p log2 p over paragraphs", "bit", 0, INF),
    *_region("sentences_visited_share", "visited sentences / sentences", *SHARE),
    *_region("paragraphs_visited_share", "visited paragraphs / paragraphs", *SHARE),
    *_region("top1_paragraph_share", "dwell in the paragraph with most / dwell_ms", *SHARE),
    *_region("top3_paragraph_share", "dwell in the three paragraphs with most / dwell_ms", *SHARE),
)


def spread(channel: ChannelTicks, answers: Answers, blocks: Units) -> Values:
    """Compute the features of `SPREAD`.

    Args:
        channel: The channel.
        answers: The answers.
        blocks: `answers.blocks(BLOCK_CHARS)`, made once for both channels.
    """
    length = answers.chars.ravel()
    at = answers.start[channel.slot] + channel.char  # character over all answers
    furthest = np.full(len(length), -1, dtype=np.int64)
    np.maximum.at(furthest, channel.slot, channel.char)
    middle = (channel.char + 0.5) / length[channel.slot]
    time = channel.by_slot(channel.time_us)

    part = channel.slot * PARTS + channel.char * PARTS // length[channel.slot]
    in_parts = np.bincount(part, weights=channel.time_us, minlength=len(length) * PARTS)
    part_slot = np.repeat(np.arange(len(length)), PARTS)

    in_sentence = _dwell_in(answers.sentences, channel, at)
    in_paragraph = _dwell_in(answers.paragraphs, channel, at)
    return {
        "coverage": blocks.mean(_visited(blocks, at)),
        "depth": ratio((furthest + 1).reshape(-1, 2), answers.chars),
        "position_mean": ratio(channel.by_slot(channel.time_us * middle), time),
        "spread_entropy": _entropy(in_parts, part_slot, time) / np.log(PARTS),
        "sentence_entropy_bits": _entropy(in_sentence, answers.sentences.slot, time) / np.log(2),
        "paragraph_entropy_bits": _entropy(in_paragraph, answers.paragraphs.slot, time) / np.log(2),
        "sentences_visited_share": answers.sentences.mean(_visited(answers.sentences, at)),
        "paragraphs_visited_share": answers.paragraphs.mean(_visited(answers.paragraphs, at)),
        **{
            f"top{k}_paragraph_share": _top_share(in_paragraph, answers.paragraphs, time, k)
            for k in TOP_PARAGRAPHS
        },
    }


def _visited(units: Units, at: IntArray) -> FloatArray:
    visited = np.zeros(len(units.slot))
    visited[units.of_char[at]] = 1.0
    return visited


def _dwell_in(units: Units, channel: ChannelTicks, at: IntArray) -> FloatArray:
    dwell = np.bincount(units.of_char[at], weights=channel.time_us, minlength=len(units.slot))
    return dwell.astype(np.float64)


def _entropy(dwell: NDArray[Any], slot: IntArray, time: FloatArray) -> FloatArray:
    """Return `[turns, 2]` the entropy in nats of dwell over pieces; NaN without dwell."""
    share = ratio(dwell, time.ravel()[slot])
    bits = -share * np.log(np.where(share > 0, share, 1.0))
    total = np.bincount(slot, weights=np.nan_to_num(bits), minlength=time.size).reshape(-1, 2)
    # -0.0 and rounding below zero both mean: all in one piece.
    return np.where(time > 0, np.maximum(total, 0.0) + 0.0, np.nan)


def _top_share(dwell: FloatArray, units: Units, time: FloatArray, k: int) -> FloatArray:
    order = np.lexsort((-dwell, units.slot))
    slot = units.slot[order]
    count = units.count.ravel()
    rank = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
    top = rank < k
    total = np.bincount(slot[top], weights=dwell[order][top], minlength=time.size)
    return ratio(total.reshape(-1, 2), time)
