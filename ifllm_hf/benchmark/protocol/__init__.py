"""From labelled rows to scored predictions, with no reader on both sides.

* `rows`: labelled rows, what a model may see of them, swapping the two sides; `prepared_turns`,
  `paper_inputs`: from a prepared folder to rows with features
* `splits`: the protocols `rows`, `conversation`, `worker`, `future`; `side_bias`: a reader's lean
  to one side, as a protocol of its own; `subsets`: parts that are scored again
* `runner`, `ahead`: fit a model inside the training folds, repeat by repeat, resumable
* `walls`: swapping the sides must give 1 - p; `permutation`: labels permuted within workers
* `predictions`: the door through which predictions made elsewhere are scored
* `scores`: metrics with intervals over workers; `suite`: models x sets x protocols
"""
