"""Our features of a whole release, from ticks in memory: CPU seconds, and ten times as many."""

from __future__ import annotations

from measuring import Row, row, run_python

# A release has 1.6 million ticks in 1,691 turns.
_CODE = """
import time
import numpy as np, polars as pl
from ifllm_hf.behavior.features import behavior_features
turns, ticks = int(sys.argv[1]), 950
rng = np.random.default_rng(0)
text = "Some words of an answer, and more. " * 40
side = np.array(["none", "a", "b"])
def lists(values):
    return pl.Series(values).reshape((turns, ticks)).arr.to_list()
n = turns * ticks
columns = {
    "query_id": np.arange(turns), "user_id": [f"u{i % 80}" for i in range(turns)],
    "conversation_id": [f"c{i // 4}" for i in range(turns)], "turn": np.arange(turns) % 4,
    "asked_at": pl.Series(np.arange(turns) * 10**8).cast(pl.Datetime("us", "UTC")),
    "response_a": [text] * turns, "response_b": [text] * turns,
    "t_ms": lists(np.cumsum(rng.uniform(60, 110, (turns, ticks)), axis=1).ravel().round(1)),
    "page_load": lists(np.zeros(n, np.int16)),
    "phase": lists(np.where(np.arange(n) % ticks < 500, "reading", "after")),
}
for c in ("gaze", "mouse"):
    on = np.repeat(rng.integers(0, 3, n // 10), 10)
    columns[f"{c}_on"] = lists(side[on])
    columns[f"{c}_char"] = lists(np.abs(np.cumsum(rng.integers(-40, 45, n))) % len(text))
    columns[f"{c}_x_px"] = lists(rng.random(n))
frame = pl.DataFrame(columns)
start = time.process_time()
behavior_features(frame)
open(sys.argv[2], "w").write(str(time.process_time() - start))
"""


def main() -> list[Row]:
    """Measure on made-up ticks, so that it runs anywhere."""
    import tempfile
    from pathlib import Path

    found = {}
    with tempfile.TemporaryDirectory() as place:
        for turns in (1691, 16910):
            result = Path(place) / "cpu"
            _, _, memory = run_python(_CODE, str(turns), str(result))
            found[turns] = (float(result.read_text()), memory)
    (one, _), (ten, memory) = found[1691], found[16910]
    return [
        row("our features, 1.6 million ticks", one, "s CPU", 4.0),
        row("our features, ten times as many, per tick", ten / one / 10, "times", 1.3),
        row("our features, ten times as many, memory", memory, "GB", None),
    ]
