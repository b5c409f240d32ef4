r"""How much better did the answers become? Generate on held-out questions, judge, report.

    python recipes/judge.py --config recipes/configs/judge.yaml --judge.model gpt-4.1-mini \
        --baseline.adapter outputs/sft --output_dir outputs/judge

The YAML names a baseline, the candidates and the judge: an OpenAI-compatible endpoint, Hugging Face
inference, a local reward model, or people in the terminal. Any setting can be overridden, a dot
enters a part. What was generated and judged is kept: after a kill the same command goes on.
The report lies in `--output_dir`: `report.md`, `report.json`, `report.png`.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path


def main() -> int:
    """Parse, run, and print the report."""
    from ifllm_hf.alignment.judge.config import JudgeConfig
    from ifllm_hf.training.settings_file import describe

    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"settings of the YAML, or --NAME VALUE:\n\n{describe(JudgeConfig)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="YAML with the settings below")
    arguments, overrides = parser.parse_known_args()
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(message)s"
    )

    # PEFT asks for a name that transformers deprecates; nothing a user of this script can change.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)

    from ifllm_hf.alignment.judge.run import run_judge
    from ifllm_hf.errors import IFLLMError
    from ifllm_hf.training.settings_file import read_settings

    try:
        config = read_settings(JudgeConfig, arguments.config, overrides)
        run_judge(config)
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from here\n")
        return 130
    sys.stdout.write((Path(config.output_dir) / "report.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
