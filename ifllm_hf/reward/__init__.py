"""From features to the probability that a reader prefers an answer.

* `baselines`: small models on features or text, late reading among them
* `model`: the transformers reward model; its files travel to the Hub
* `training`: how that model is trained
* `explain`: what moved a score
"""
