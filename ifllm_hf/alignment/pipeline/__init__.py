"""Every model with every label source, stopped and resumed at will.

* `config`: the settings; `state`: what became of every run
* `data`, `labels`, `training`, `judge`: the steps
* `early_stopping`: stops a source whose results get worse
* `loop`: all of them; `recipes/pipeline.py` calls it
"""
