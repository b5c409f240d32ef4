"""A visitor's own minute with the mouse: checked, scored, forgotten."""

from __future__ import annotations

import math
from typing import Any

from ifllm_hf.errors import DataError

MAX_CHARS = 20_000
MAX_TICKS = 6_000
MAX_MS = 120_000
_SIDES = {-1: "none", 0: "a", 1: "b"}


def own_turn(
    prompt: str, left: str, right: str, ticks: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a turn of nobody in particular, in the columns of the `pairwise` config.

    Args:
        prompt: The question.
        left: Answer a.
        right: Answer b.
        ticks: What the page recorded: parallel lists `t_ms` (not falling, up to `MAX_MS`), `on`
            (-1 neither, 0 left, 1 right) and `char` (code points); None for nothing.

    Raises:
        DataError: Texts or ticks are not like that.
    """
    texts = {"question": prompt, "answer A": left, "answer B": right}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise DataError(f"{name} is too long; expected up to {MAX_CHARS:,} characters.")
    if not left.strip() or not right.strip():
        raise DataError("An answer is empty; expected two answers. Write or paste both.")
    times, sides, chars = _checked(ticks or {"t_ms": [], "on": [], "char": []}, left, right)
    nothing = [None] * len(times)
    under = [char if side >= 0 else None for side, char in zip(sides, chars, strict=True)]
    return {
        "query_id": 0, "user_id": "you", "conversation_id": "you", "turn": 1, "kind": "pairwise",
        "asked_at": None, "domain": None, "prompt": prompt,
        "response_a": left, "response_b": right, "model_a": None, "model_b": None,
        "likert_a": None, "likert_b": None, "preference": None, "better_than_previous": None,
        "page_load": [0] * len(times), "t_ms": times, "phase": ["reading"] * len(times),
        "gaze_on": nothing, "gaze_char": nothing,
        "mouse_on": [_SIDES[side] for side in sides],
        "mouse_char": under,
    }  # fmt: skip


def _checked(ticks: Any, left: str, right: str) -> tuple[list[float], list[int], list[int]]:
    lists = [ticks.get(name) for name in ("t_ms", "on", "char")] if isinstance(ticks, dict) else []
    if len(lists) != 3 or not all(isinstance(values, list) for values in lists):
        raise DataError("The recording has no t_ms, on and char lists. Record again.")
    times, sides, chars = lists
    if not len(times) == len(sides) == len(chars) <= MAX_TICKS:
        raise DataError(
            f"The recording has {len(times)} times, {len(sides)} sides and {len(chars)} characters;"
            f" expected equally many, up to {MAX_TICKS}. Record again."
        )
    length = {-1: 0, 0: len(left), 1: len(right)}
    before = 0.0
    for i, (t, side, char) in enumerate(zip(times, sides, chars, strict=True)):
        numbers = all(type(value) in (int, float) and math.isfinite(value) for value in (t, char))
        if not numbers or not before <= t <= MAX_MS or type(side) is not int or side not in length:
            raise DataError(
                f"Tick {i} of the recording is {(t, side, char)!r}; expected a time from {before} "
                f"to {MAX_MS} ms and a side -1, 0 or 1. Record again."
            )
        if type(char) is not int or (side >= 0 and not 0 <= char < length[side]):
            raise DataError(
                f"Tick {i} of the recording is on character {char} of {length[side]}. Record again."
            )
        before = t
    return [float(t) for t in times], sides, chars
