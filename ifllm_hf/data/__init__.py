"""From a release, or collected sessions, to the canonical tables; no row is lost in silence.

In the order in which bytes pass through:

* `raw`: the bytes of a release and the grammar of its files
* `tables`: turns, tasks, readers, preferences, folds
* `ticks`: one row per tick, with its turn, its character and the end of reading
* `release`: all of it, conversation by conversation; `ledger`: the count of every row
* `recordings`: what a release and collected sessions have in common; `sessions`: the latter
* `prepared`: the folder `./ifllm` and its `datasets` builder; `schema`: its columns; `card_head`,
  `marker`: the YAML of its card, and how it is recognised by that
* `rendered`: what a page shows of an answer's Markdown, and where each character stands in it
* `imports`: what other programs export, as such a folder with `messages` and `actions`

Beside them `synthetic`: made-up releases with known truth; `known_truth`: a made-up world in which
the quality of every answer can be computed.
"""
