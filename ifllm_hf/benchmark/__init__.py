"""How well a model knows a preference, measured so that it cannot flatter itself.

* `rows`: labelled rows from the turns, what a model may see of them, swapping the two sides.
* `splits`: the protocols `rows`, `conversation`, `worker`, `future`.
* `model`: the small protocol that every model satisfies; `reference_models`: those without
  behaviour; `side_bias`: a reader's lean to one side, as a protocol of its own.
* `runner`: fits a model inside the training folds, repeat by repeat, resumable.
* `walls`: swapping the sides must give 1 - p; `permutation`: labels permuted within workers.
* `predictions`: the door through which predictions made elsewhere are scored.
* `scores`, `subsets`, `suite`: metrics with worker intervals, ablation subsets, everything at once.
* `curves`, `probe`: learning curves, and whether the pointer saw the click.
* `report`, `figures`: terminal table, JSON, Markdown.
"""
