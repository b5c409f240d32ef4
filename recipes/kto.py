# /// script
# requires-python = ">=3.11"
# dependencies = ["ifllm-hf[train]"]
# ///
r"""Kahneman-Tversky optimisation (KTO) on single answers that were wanted or not.

Whatever fits this machine; what was chosen is said first, and the same command goes on:

    accelerate launch recipes/kto.py

Dry run on any machine (a tiny random model, made-up answers, about a minute on one core):

    accelerate launch recipes/kto.py --config recipes/configs/smoke.yaml --output_dir outputs/kto

One model on one GPU, on likes, dislikes, copies and the like that `ifllm label --unpaired` wrote
(with `--dataset ifllm` on pairs, of which the chosen answer is wanted and the rejected is not):

    accelerate launch recipes/kto.py --config recipes/configs/qwen3-4b.yaml \
        --dataset answers.parquet --output_dir outputs/qwen3-4b-kto

The YAML is that of DPO, so that both read the same prompts and leave the same readers out; what
only DPO knows in it is named and left out here. docs/kto.md says when to take which.
"""

from __future__ import annotations

import sys

from ifllm_hf.training.recipe_arguments import parse_recipe, recipe_main


def run() -> str:
    """Parse and train; return where the result lies."""
    from ifllm_hf.alignment.kto.config import UnpairedKTOConfig, settings_not_for_kto
    from ifllm_hf.alignment.kto.run import run_kto
    from ifllm_hf.alignment.pairs.config import PairDataConfig
    from ifllm_hf.alignment.policy.config import PolicyConfig

    data, training, policy = parse_recipe(
        (PairDataConfig, UnpairedKTOConfig, PolicyConfig),
        leave_out=settings_not_for_kto(),
        stage="kto",
    )
    return str(run_kto(policy, training, data))


if __name__ == "__main__":
    sys.exit(recipe_main(run))
