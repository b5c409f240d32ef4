# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
"""Does behaviour make a better language model? Many small runs where the truth can be computed.

    python recipes/known_truth.py             # what is missing of recipes/known-truth-grid.yaml
    python recipes/known_truth.py --quick     # one seed of its first block, about two minutes
    python recipes/known_truth.py --report    # table and figure from the lines that are there
    python recipes/known_truth.py --config recipes/known-truth-waves.yaml   # sessions in waves

Each cell goes from a made-up release through prepare, labels and DPO to the true score of what
held-out readers asked, and adds one line to the file of results. With waves, the model of a wave
writes what the readers of the next one see. Stop it when you like: the same command goes on. Two
processes share the work by `--seeds "[0, 2, 4]"` and `--seeds "[1, 3]"`.
"""

from __future__ import annotations

import logging
import sys

from ifllm_hf.training.recipe_arguments import GOES_ON, recipe_main


def run() -> tuple[str, int]:
    """Parse and run; return the report, and 1 where a cell failed."""
    from ifllm_hf.alignment.known_truth.config import TruthGrid, read_grid
    from ifllm_hf.alignment.known_truth.run import GridOutcome, run_grid
    from ifllm_hf.alignment.known_truth.waves.config import TruthWaves, read_waves
    from ifllm_hf.alignment.known_truth.waves.run import run_waves
    from ifllm_hf.files import shipped_folder
    from ifllm_hf.training.launch import check_alone
    from ifllm_hf.training.recipe_arguments import split_config
    from ifllm_hf.training.settings_file import read_yaml, settings_parser
    from ifllm_hf.training.without_config import say

    check_alone()
    given, words = split_config(sys.argv[1:])
    file = given or shipped_folder("recipes") / "known-truth-grid.yaml"
    in_waves = "waves" in read_yaml(file)
    parser = settings_parser(TruthWaves if in_waves else TruthGrid, __doc__)
    parser.add_argument("--quick", action="store_true", help="one seed, few readers, few cells")
    parser.add_argument("--report", action="store_true", help="run nothing; report what is there")
    arguments, overrides = parser.parse_known_args(words)
    outcome: GridOutcome
    if in_waves:
        waves = read_waves(file, overrides)
        waves = waves.quick() if arguments.quick else waves
        outcome = run_waves(waves, say=say, report_alone=arguments.report)
    else:
        grid = read_grid(file, overrides)
        grid = grid.quick() if arguments.quick else grid
        outcome = run_grid(grid, say=say, report_alone=arguments.report)
    lines = [f"{name}: {why}" for name, why in outcome.errors.items()]
    if outcome.report is not None:
        lines = [outcome.report.read_text(encoding="utf-8"), str(outcome.report), *lines]
    return "\n".join(lines), 1 if outcome.errors else 0


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted=GOES_ON))
