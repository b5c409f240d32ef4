"""From preferences to a better language model: DPO on pairs, KTO on single answers.

In the order of the work (nothing heavy is imported here; each file is imported where it is used):

* `labels`: pairs with a confidence, from clicks and behaviour: `ifllm label`
* `pairs`: open pairs from anywhere, and turn them into what the model reads
* `policy`: the model that is trained; what every run on pairs has in common
* `dpo`, `kto`, `sft`: the losses, the trainers, whole runs: `recipes/dpo.py`, `kto.py`, `sft.py`
* `merge`: an adapter and its base as one model: `ifllm merge`
* `generate`: answers of a model; `judge`: what they are worth: `recipes/judge.py`
* `pretrained`: a small language model whose answers have a true score
* `pipeline`: every model with every label source: `recipes/pipeline.py`
* `known_truth`: the same where the truth can be computed, as a grid: `recipes/known_truth.py`
"""
