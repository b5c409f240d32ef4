"""From clicks and behaviour to preference pairs with a confidence: `ifllm label`.

* `write`: the command; `turn_facts`: what it is made from, shard by shard
* `signals`: what a labelling model may look at
* `calibration`: out-of-fold probabilities, calibrated inside the training folds
* `noise`: what a click is worth when clicks are sometimes wrong
* `from_predictions`: labels from predictions made elsewhere
* `label_file`, `report`: what is written, and what is said about it
* `actions`: labels from what readers did with answers, also of single answers
* `check`: a label file as each language model will see it
"""
