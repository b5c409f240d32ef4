"""The model that is trained, and what every such run has in common: SFT, DPO or KTO.

* `config`: every setting of the model and its adapter
* `load`: access, tokenizer, weights; `models`: the policy and the reference that was named
* `run`: what comes before training and after it; `run_card`: what a result says of itself
"""
