"""`ifllm score` on the release: turns a minute on one core, by the model that comes along."""

from __future__ import annotations

import tempfile

from measuring import Row, release, row, run_python

_CODE = """
import time
import torch
from ifllm_hf.data.prepared.prepare import prepare
from ifllm_hf.reward.scoring.score_file import score_pairs_file
torch.set_num_threads(1)
folder = sys.argv[2] + "/ifllm"
prepare(sys.argv[1], folder, progress=False)
seconds = []
for again in range(3):  # the first loads libraries
    start = time.process_time()
    out = f"{sys.argv[2]}/{again}.parquet"
    table = score_pairs_file(folder, out, progress=False, say=lambda line: None)
    seconds.append(time.process_time() - start)
    pairs = table.select("query_id").collect().height
open(sys.argv[2] + "/rate", "w").write(str(60 * pairs / min(seconds)))
"""


def main() -> list[Row]:
    """Measure the command without the imports, reading and writing included."""
    name = "turns a minute that `ifllm score` scores, CPU time"
    source = release()
    if source is None:
        return [row(name, None, note="$IFLLM_RELEASE is not set")]
    with tempfile.TemporaryDirectory() as place:
        run_python(_CODE, str(source), place)
        with open(f"{place}/rate") as file:
            return [row(name, float(file.read()), "", 5000, at_most=False)]
