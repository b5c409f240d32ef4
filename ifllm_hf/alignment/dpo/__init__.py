"""DPO with a confidence for every pair.

* `losses`: the formulas, on tensors; `config`: how to train, checked before any download
* `trainer`: a small subclass of TRL's `DPOTrainer`; `named_reference`: its forward and reference
* `reference_cache`, `gradient_share`: what it keeps, and what it reports
* `reference_ranks`: the reference in parts that processes or machines compute apart
* `run`: a whole run; `recipes/dpo.py` calls it
"""
