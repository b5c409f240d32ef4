# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
r"""How much better did the answers become? Generate on held-out questions, judge, report.

    python recipes/judge.py        # you judge three answers of what recipes/dpo.py left
    python recipes/judge.py --config recipes/configs/judge.yaml --judge.model gpt-4.1-mini \
        --baseline.adapter outputs/sft --output_dir outputs/judge

The YAML names a baseline, the candidates and the judge: an OpenAI-compatible endpoint, Hugging Face
inference, a local reward model, or people in the terminal. Any setting can be overridden, a dot
enters a part. What was generated and judged is kept: after a kill the same command goes on.
The report lies in `--output_dir`: `report.md`, `report.json`, `report.png`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from ifllm_hf.training.recipe_arguments import GOES_ON, recipe_main


def run() -> str:
    """Parse and judge; return the report."""
    from ifllm_hf.alignment.judge.config import JudgeConfig
    from ifllm_hf.training.launch import check_alone
    from ifllm_hf.training.recipe_arguments import split_config
    from ifllm_hf.training.settings_file import read_settings, settings_parser

    check_alone()
    file, words = split_config(sys.argv[1:])
    _, overrides = settings_parser(JudgeConfig, __doc__).parse_known_args(words)

    from ifllm_hf.alignment.judge.default_judge import judge_without_config
    from ifllm_hf.alignment.judge.run import run_judge

    if file is None:
        file, chosen = judge_without_config()
        overrides = [*chosen, *overrides]
    config = read_settings(JudgeConfig, file, overrides)
    run_judge(config)
    return (Path(config.output_dir) / "report.md").read_text().removesuffix("\n")


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted=GOES_ON))
