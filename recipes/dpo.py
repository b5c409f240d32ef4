# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
r"""Direct preference optimisation on preference pairs, with a confidence for every pair.

Whatever fits this machine; what was chosen is said first, and the same command goes on:

    accelerate launch recipes/dpo.py

Dry run on any machine (a tiny random model, made-up pairs, about a minute on one core):

    accelerate launch recipes/dpo.py --config recipes/configs/smoke.yaml --output_dir outputs/smoke

One model on one GPU, on the IFLLM pairs (QLoRA; add `--method lora` or `--method full`):

    accelerate launch recipes/dpo.py --config recipes/configs/qwen3-4b.yaml \
        --output_dir outputs/qwen3-4b

Any setting of the YAML can be overridden on the command line; `--help` lists them. The adapter,
its settings (`run.json`) and its card end up in `--output_dir` itself.
"""

from __future__ import annotations

import sys

from ifllm_hf.training.recipe_arguments import parse_recipe, recipe_main


def run() -> str:
    """Parse and train; return where the result lies."""
    from ifllm_hf.alignment.dpo.config import PairDPOConfig
    from ifllm_hf.alignment.dpo.run import run_dpo
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig

    data, training, policy = parse_recipe(
        (PairDataConfig, PairDPOConfig, PolicyConfig), stage="dpo"
    )
    return str(run_dpo(policy, training, data))


if __name__ == "__main__":
    sys.exit(recipe_main(run))
