"""The model that is trained on pairs, and what every such run has in common, SFT or DPO.

* `config`: every setting of the model and its adapter
* `load`: access, tokenizer, weights
* `run`: what comes before training and after it; `run_card`: what a result says of itself
"""
