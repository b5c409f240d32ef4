"""A small language model that is really there, and whose answers have a true score.

* `base_model`: trains it from scratch on the world of `ifllm_hf.data.known_truth`
  (`make known-truth`)
* `sampled_answers`: what a model answers to questions, for pairs and for the truth
* `known-truth/`: the folder, weights and card: `ifllm_hf.pretrained("known-truth")`
"""
