"""The bytes of a release, and the grammar of its files.

* `release_source`, `archive`, `read_ahead`, `download`: get at the bytes
* `csv_tables`: the three tables as text cells; `line_ends`: those of another system
* `grammar`, `line_grammar`, `records`: the behaviour files, which look like CSV and are not
* `samples`, `lossy`: the same files as the paper's features need them
"""
