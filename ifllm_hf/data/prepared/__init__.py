"""The prepared folder `./ifllm`: written, and loaded by `datasets`.

* `folder`: how it looks; `shards`: its Parquet files; `prepare`: from a source to the folder
* `elsewhere`: folders that a URL names
* `exports_of_sessions`: which folders were made of sessions, so that withdrawals reach them
* `ifllm`: the `datasets` builder (its file name is the name of the dataset)
"""
