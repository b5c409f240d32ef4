"""Features of a whole release: both families from what was read, and growth with the ticks."""

from __future__ import annotations

from measuring import Row, release, row, run_python

# A release has 1.6 million ticks in 1,691 turns.
_CODE = """
import time
import numpy as np, polars as pl
from ifllm_hf.behavior.features.table import behavior_features
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


# Both families of the real release; reading files and folder is not counted.
_BOTH = """
import time
from ifllm_hf.behavior.features.table import behavior_features, read_turns
from ifllm_hf.behavior.paper.features import paper_tables
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.data.release import open_release, read_samples
release = open_release(sys.argv[1], hash_content=False)
release.source.close()
samples = list(read_samples(sys.argv[1]))
prepare(sys.argv[1], sys.argv[2] + "/ifllm", progress=False)
rows = read_turns(sys.argv[2] + "/ifllm")
start = time.perf_counter()
paper_tables(samples, release.turns)
behavior_features(rows)
open(sys.argv[2] + "/wall", "w").write(str(time.perf_counter() - start))
"""


def main() -> list[Row]:
    """Measure both families on the release, and growth on made-up ticks, which run anywhere."""
    import tempfile
    from pathlib import Path

    rows = []
    name = "the paper's features and ours, whole release, wall"
    source = release()
    if source is None:
        rows.append(row(name, None, note="$IFLLM_RELEASE is not set"))
    else:
        with tempfile.TemporaryDirectory() as place:
            run_python(_BOTH, str(source), place)
            rows.append(row(name, float((Path(place) / "wall").read_text()), "s", 10))
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for turns in (1691, 16910):
            result = Path(place) / "cpu"
            _, _, memory = run_python(_CODE, str(turns), str(result))
            found[turns] = (float(result.read_text()), memory)
    (one, _), (ten, memory) = found[1691], found[16910]
    return [
        *rows,
        row("our features, 1.6 million ticks", one, "s CPU", 4.0),
        row("our features, ten times as many, per tick", ten / one / 10, "times", 1.3),
        row("our features, ten times as many, memory", memory, "GB", None),
    ]
