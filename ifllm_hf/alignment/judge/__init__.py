"""What answers are worth, judged in both orders, with intervals over readers.

* `config`, `prompts`: every setting; the questions of readers that training never saw
* `verdict`: the types that all judges share
* `endpoint` (with `rubric`), `reward`, `people`: the judges; `kept_verdicts`: their file
* `statistics`, `report`: what verdicts say; `pooled`: over several language models
* `run`: a whole run; `recipes/judge.py` calls it
"""
