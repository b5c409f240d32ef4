"""From signal to pairs to language models: every model with every label source, in one loop.

    python recipes/pipeline.py --config recipes/pipeline.yaml --data ./ifllm
    python recipes/pipeline.py --config recipes/pipeline.yaml --data ./ifllm --status
    python recipes/pipeline.py --config recipes/refresh.yaml --data ./sessions

Stop it when you like: the same command goes on. What is done is never done again. Any setting of
the YAML can be overridden, a dot enters a part (`--settings.method lora`).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings


def main() -> int:
    """Parse, run the loop, and print what stands."""
    from ifllm_hf.alignment.pipeline.config import PipelineConfig
    from ifllm_hf.training.settings_file import describe

    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"settings of the YAML, or --NAME VALUE:\n\n{describe(PipelineConfig)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", required=True, help="YAML with the settings below")
    parser.add_argument("--status", action="store_true", help="only look; train nothing")
    parser.add_argument("--json", action="store_true", help="print what stands as JSON")
    arguments, overrides = parser.parse_known_args()
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    # As in dpo.py: names that TRL uses and transformers deprecates.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)

    from ifllm_hf.alignment.pipeline.config import read_pipeline
    from ifllm_hf.alignment.pipeline.loop import run_pipeline
    from ifllm_hf.errors import IFLLMError
    from ifllm_hf.hub.cards.dataset_card import write_card

    try:
        config, models, sources = read_pipeline(arguments.config, overrides)
        outcome = run_pipeline(
            config, models, sources, say=_say, dry=arguments.status, card=write_card
        )
    except IFLLMError as error:
        _say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from here")
        return 130
    if arguments.json:
        sys.stdout.write(json.dumps(vars(outcome), indent=2) + "\n")
    else:
        sys.stdout.write(outcome.table() + "\n")
    return 0 if not outcome.errors else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
