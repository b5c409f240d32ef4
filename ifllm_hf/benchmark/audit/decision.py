"""Yes, not yet, or no gain above so much: what the interval allows to say, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from ifllm_hf.benchmark.audit.confidence_sequence import AnytimeInterval
from ifllm_hf.benchmark.protocol.scores import Record
from ifllm_hf.benchmark.report.report import shown_interval, shown_number

YES, NOT_YET, NO_GAIN = "yes", "not yet", "no gain above"


def judge(
    gain: AnytimeInterval, leaks: Sequence[Record], width: float, needed: int | None
) -> tuple[str, str]:
    """Return the verdict, and the words of why.

    Args:
        gain: Of behaviour over length, a reader.
        leaks: Scores of the probe by learner; none: it could not be run.
        width: Half the width that is wanted, and the gain that would be worth having.
        needed: Readers in all until the interval is so narrow; None: nobody knows.
    """
    wanted = f"±{shown_number(width)}"
    if gain.low > gain.high:
        return NOT_YET, "the gain of later readers is another than that of earlier ones"
    if gain.low > 0:
        if not leaks:
            return NOT_YET, "the gain is above 0, but the leak probe could not be run"
        if seen := [leak for leak in leaks if leak["auc_low"] > 0.5]:
            auc = shown_interval(seen[0], "auc", "auc_low", "auc_high")
            return NOT_YET, (
                f"the pointer off the answers tells the preference while reading (AUC {auc}): the "
                "gain may be the click on the rating, not reading"
            )
        return YES, (
            "reading tells which answer is preferred beyond its length: a gain of at least "
            f"{shown_number(gain.low, sign=True)}, at whatever look"
        )
    if gain.high <= width:
        verdict = f"{NO_GAIN} {shown_number(gain.high, sign=True)}"
        if gain.high <= 0:
            return verdict, "length alone does better than length with behaviour"
        return verdict, f"the interval holds 0 and ends below {shown_number(width, sign=True)}"
    said = f"the interval holds 0 and is ±{shown_number(gain.half_width)}"
    if gain.half_width <= width:
        return NOT_YET, f"{said}, as narrow as wanted; more readers and a smaller --width can tell"
    if needed is None:
        return NOT_YET, f"{said}; how many more readers {wanted} takes cannot be told"
    more = max(1, needed - gain.n)
    return NOT_YET, f"{said}; about {more} more readers until {wanted}, if they vary as these do"
