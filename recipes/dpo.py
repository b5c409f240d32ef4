"""Direct preference optimisation on preference pairs, with a confidence for every pair.

Dry run on any machine (a tiny random model, made-up pairs, about a minute on one core):

    accelerate launch recipes/dpo.py --config recipes/configs/smoke.yaml --output_dir out/smoke

One model on one GPU, on the IFLLM pairs (QLoRA; add `--method lora` or `--method full`):

    accelerate launch recipes/dpo.py --config recipes/configs/qwen3-4b.yaml --output_dir out/qwen3

Any setting of the YAML can be overridden on the command line; `--help` lists them. The adapter,
its settings (`run.json`) and its card end up in `--output_dir` itself.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings


def main() -> int:
    """Parse, run, and print where the result lies."""
    if "--help" not in sys.argv and "-h" not in sys.argv:
        logging.basicConfig(
            level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s"
        )
        for name in ("httpx", "httpx2", "datasets", "transformers", "accelerate", "bitsandbytes"):
            logging.getLogger(name).setLevel(logging.WARNING)
    # TRL 1.16 uses names that transformers 5 deprecates; nothing a user of this script can change.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing", category=FutureWarning)
    from trl import TrlParser

    from ifllm_hf.alignment.dpo_config import PairDataConfig, PairDPOConfig, PolicyConfig
    from ifllm_hf.errors import IFLLMError

    try:
        parser = TrlParser((PairDataConfig, PairDPOConfig, PolicyConfig))
        data, training, policy = parser.parse_args_and_config()
        from ifllm_hf.alignment.dpo_run import run_dpo

        folder = run_dpo(policy, training, data)
    except IFLLMError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if int(os.environ.get("RANK", "0")) == 0:
        sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
