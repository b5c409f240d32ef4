"""One turn as the page draws it: plain numbers and texts, nothing that was not recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ifllm_hf.behavior.reading_ticks import TICK_CAP_MS
from ifllm_hf.data.rendered.markdown_source import render_markdown
from ifllm_hf.plot.drawn_turn import bridged_ms
from ifllm_space.page_numbers import RELEASE_PAGE, PageLines

CHANNELS = ("gaze", "mouse")
PHASES = ("reading", "rating", "after")
NOT_SAMPLED, OFF_ANSWERS = -2, -1
"""Codes of a channel in a tick that is on no answer; 0 is the left answer, 1 the right one."""

GAZE_ERROR_PX = (100, 150, 200)
"""Webcam gaze is off by so much (Semmelmann & Weigelt 2018: 172 px in the lab, 207 px online)."""


def turn_view(turn: dict[str, Any], lines: PageLines = RELEASE_PAGE) -> dict[str, Any]:
    """Return what the page draws of a turn.

    Args:
        turn: A row of the `pairwise` or `pointwise` config.
        lines: How the page that recorded it set its answers.

    Returns:
        JSON-ready: texts (as stored, and as safe HTML that knows where each character stands in
        the stored text), ratings and `ticks`: parallel lists of `t_ms` (from the first tick on,
        reloads bridged), `phase` (index into `PHASES`) and by channel `on` (see `NOT_SAMPLED`) and
        `char` (code points into that answer, -1 off the answers). `ticks.visible` has, by answer,
        `[index of the tick, first character on screen, the one after the last]` wherever that
        changed; empty where it was not recorded.
    """
    sides = ("a", "b") if turn["kind"] == "pairwise" else ("a",)
    return {
        "query_id": turn["query_id"],
        "reader": turn["user_id"],
        "conversation": turn["conversation_id"],
        "turn": turn["turn"],
        "domain": turn["domain"],
        "prompt": turn["prompt"] or "",
        "answers": [
            {
                "side": side,
                "text": turn[f"response_{side}"] or "",
                "html": render_markdown(turn[f"response_{side}"] or ""),
                "model": turn[f"model_{side}"],
                "likert": turn[f"likert_{side}"],
                "liked": turn["preference"] == side,
            }
            for side in sides
        ],
        "preference": turn["preference"],
        "better_than_previous": turn["better_than_previous"],
        "reading_end_source": turn.get("reading_end_source"),
        "ticks": ticks_view(turn),
        "tick_cap_ms": TICK_CAP_MS,
        "gaze_error": [
            {
                "px": px,
                "lines": round(px / lines.px, 1),
                "chars": round(px / lines.px * lines.chars),
            }
            for px in GAZE_ERROR_PX
        ],
    }


def ticks_view(turn: dict[str, Any]) -> dict[str, Any]:
    """Return the ticks of a turn for the page; see `turn_view`."""
    times: Sequence[float] = turn["t_ms"] or []
    visible = {
        side: zip(
            *(turn.get(f"visible_{edge}_char_{side}") or [] for edge in ("from", "to")), strict=True
        )
        for side in ("a", "b")
    }
    return {
        "t_ms": bridged_ms(times, turn["page_load"] or []).round(1).tolist(),
        "phase": [PHASES.index(phase) for phase in turn["phase"] or []],
        **{
            channel: {
                "on": _codes(turn[f"{channel}_on"] or []),
                "char": [-1 if c is None else c for c in turn[f"{channel}_char"] or []],
            }
            for channel in CHANNELS
        },
        "visible": [
            [[i, first, end] for i, (first, end) in enumerate(ranges) if first is not None]
            for ranges in visible.values()
        ],
    }


def _codes(sides: Sequence[str | None]) -> list[int]:
    codes = {None: NOT_SAMPLED, "none": OFF_ANSWERS, "a": 0, "b": 1}
    return [codes[side] for side in sides]
