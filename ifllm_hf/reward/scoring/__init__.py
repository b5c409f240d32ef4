"""Scores of whole datasets.

* `score_file`: every pair of a dataset, by any reward model of this package: `ifllm score`
* `reward_func`: the same models as a reward function of TRL's trainers
* `load_scorer`: model and processor by name
* `held_out`: refuses scores by a model that has learned from the readers who are judged on
"""
