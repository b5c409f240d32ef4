"""From features to the probability that a reader prefers an answer.

* `baselines`: small models on features or text, late reading among them
* `model`: the transformers reward model; its files travel to the Hub
* `training`: how that model is trained
* `pretrained`: the model that comes with the package
* `scoring`: every pair of a dataset scored into a file, and who was learned from
* `explain`: what moved a score
"""
