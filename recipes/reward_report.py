# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
"""`make reward-report`: what text, behaviour on tokens and trajectory are worth, on the real data.

Models around one sentence encoder, with the evidence head and without it, each trained once per
fold of workers, then scored by the benchmark beside its baselines. Hours on a CPU; finished folds
are kept, so it can be stopped and started again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ifllm_hf.training.recipe_arguments import GOES_ON, recipe_main


def run() -> str:
    """Parse, train and score; return the gains and where the report lies."""
    from ifllm_hf.benchmark.reward_report import VARIANTS, reward_report
    from ifllm_hf.data.prepared.ifllm import find_prepared
    from ifllm_hf.plot.benchmark_report import draw_report
    from ifllm_hf.plot.canvas import require_matplotlib
    from ifllm_hf.training.without_config import say

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help='default: what load_dataset("ifllm") finds')
    parser.add_argument("--out", type=Path, default=Path("outputs/reward-report"))
    parser.add_argument("--quick", action="store_true", help="one repeat, short texts, an hour")
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=list(VARIANTS),
        metavar="NAME",
        help=f"of {', '.join(map(repr, VARIANTS))}",
    )
    parser.add_argument("--repeats", type=int, help="folds drawn so often; finished ones are kept")
    arguments = parser.parse_args()
    require_matplotlib()
    report = reward_report(
        find_prepared(arguments.data, say=say),
        arguments.out,
        quick=arguments.quick,
        variants=arguments.variants,
        repeats=arguments.repeats,
        draw=draw_report,
    )
    gains = (report.parents[1] / "gains.md").read_text()
    return f"{gains}\n{report}" if gains else str(report)


if __name__ == "__main__":
    sys.exit(recipe_main(run, interrupted=GOES_ON))
