"""KTO: single answers, each of them wanted or not.

* `judgements`: unpaired data, and pairs taken apart
* `answer_weights`: how much each answer counts; `config`: how to train, before any download
* `trainer`: a small subclass of TRL's `KTOTrainer`
* `run`: a whole run; `recipes/kto.py` calls it
"""
