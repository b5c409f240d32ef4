"""From a release, or collected sessions, to the canonical tables; no row is lost in silence.

Reading, in the order in which bytes pass through:

* `source`, `archive`, `read_ahead`, `download`: get at the bytes of a release
* `csv_tables`, `turns`, `tasks`, `workers`, `preferences`, `folds`: the three tables
* `grammar`, `records`: the behaviour files, which look like CSV and are not
* `merge`: one row per tick; `displayed_text`, `alignment`, `agreement`: its turn and character;
  `phase`: where reading ends; `ticks`: the finished table of a conversation
* `release`: all of it, conversation by conversation; `ledger`: the count of every row
* `recordings`: what a release and collected sessions have in common; `sessions`: the latter

Writing and loading: `schema` (the columns), `shards`, `folder`, `prepare`, `ifllm` (the `datasets`
builder), `tick_arrays`. Beside them: `synthetic` (made-up releases with known truth), `samples` and
`lossy` (the files as the paper's features need them).
"""
