"""How well a model knows a preference, measured so that it cannot flatter itself.

* `protocol`: rows, splits, fitting inside folds, the walls, scores, and everything at once
* `report`: terminal table, JSON, a Markdown page, whose figures are handed in
* `studies`: learning curves, what the pointer saw, how readers differ, the reward model by fold
* `audit`: `ifllm audit`, is there signal on a page, looked at as often as one likes
* `run`: `ifllm benchmark`; `reward_report`: `make reward-report`
"""
