"""Does behaviour make a better language model? A grid of runs where the truth can be computed.

Every cell goes the whole way by the real commands: a made-up release, `prepare`, labels, DPO,
answers to the questions of readers held out, their true score. `recipes/known_truth.py` runs it.

* `config`: which sources, click shares, strengths and seeds; `cells`: one run of them
* `made_world`: the readers of a seed, prepared; `cell_labels`: the labels of a cell, and how right
* `cell_run`: DPO and the true score; `results_file`: a line for every cell; `run`: all of them
* `rises`: intervals over seeds and readers; `report`, `figures`: what stands, from the lines alone
"""
