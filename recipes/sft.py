# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
r"""Supervised fine-tuning on the answers of preference pairs: the optional stage before DPO.

Whatever fits this machine; what was chosen is said first, and the same command goes on:

    accelerate launch recipes/sft.py

Dry run on any machine (a tiny random model, made-up pairs, less than a minute on one core):

    accelerate launch recipes/sft.py --config recipes/configs/sft-smoke.yaml \
        --output_dir outputs/sft

One model on one GPU. The YAML is that of DPO, so that both stages read the same prompts and leave
the same readers out; its loss, learning rate and epochs are DPO's and are left out here:

    accelerate launch recipes/sft.py --config recipes/configs/qwen3-4b.yaml --output_dir outputs/sft
    accelerate launch recipes/dpo.py --config recipes/configs/qwen3-4b.yaml \
        --sft_adapter outputs/sft --output_dir outputs/qwen3-4b

`--answers both` trains on rejected answers too, as the IFLLM paper does.
"""

from __future__ import annotations

import sys

from ifllm_hf.training.recipe_arguments import parse_recipe, recipe_main


def run() -> str:
    """Parse and train; return where the result lies."""
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig
    from ifllm_hf.alignment.sft.config import PairSFTConfig, settings_not_for_sft
    from ifllm_hf.alignment.sft.run import run_sft

    data, training, policy = parse_recipe(
        (PairDataConfig, PairSFTConfig, PolicyConfig), leave_out=settings_not_for_sft(), stage="sft"
    )
    return str(run_sft(policy, training, data))


if __name__ == "__main__":
    sys.exit(recipe_main(run))
