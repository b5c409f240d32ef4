# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
"""From signal to pairs to language models: every model with every label source, in one loop.

    python recipes/pipeline.py     # one model that fits this machine; a dry run without GPU
    python recipes/pipeline.py --config recipes/pipeline.yaml --data ./ifllm
    python recipes/pipeline.py --config recipes/pipeline.yaml --data ./ifllm --status
    python recipes/pipeline.py --config recipes/refresh.yaml --data ./sessions

Stop it when you like: the same command goes on. What is done is never done again. Any setting of
the YAML can be overridden, a dot enters a part (`--settings.method lora`).
"""

from __future__ import annotations

import json
import logging
import sys

from ifllm_hf.training.recipe_arguments import GOES_ON, recipe_main


def run() -> tuple[str, int]:
    """Parse and run the loop; return what stands, and 1 where something failed."""
    from ifllm_hf.alignment.pipeline.config import PipelineConfig, read_pipeline
    from ifllm_hf.training.launch import check_alone
    from ifllm_hf.training.recipe_arguments import split_config
    from ifllm_hf.training.settings_file import settings_parser

    check_alone()
    parser = settings_parser(PipelineConfig, __doc__)
    parser.add_argument("--status", action="store_true", help="only look; train nothing")
    parser.add_argument("--json", action="store_true", help="print what stands as JSON")
    file, words = split_config(sys.argv[1:])
    arguments, overrides = parser.parse_known_args(words)

    from ifllm_hf.alignment.pipeline.default_pipeline import pipeline_without_config
    from ifllm_hf.alignment.pipeline.loop import run_pipeline
    from ifllm_hf.hub.cards.dataset_card import write_card

    if file is None:
        file, chosen = pipeline_without_config()
        overrides = [*chosen, *overrides]
    config, models, sources = read_pipeline(file, overrides)
    outcome = run_pipeline(config, models, sources, say=_say, dry=arguments.status, card=write_card)
    text = json.dumps(vars(outcome), indent=2) if arguments.json else outcome.table()
    return text, 1 if outcome.errors else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(recipe_main(run, level=logging.WARNING, interrupted=GOES_ON))
