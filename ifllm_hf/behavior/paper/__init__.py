"""The features of the paper, by its own formulas, for parity with its pipeline.

* `matching`: which question a sample belongs to; `phases`: reviewing against composing
* `response`: how one answer was read; `counters`: its counters per question
* `features`: all 212 columns; `feature_file`: the file of `ifllm features --set paper`
"""
