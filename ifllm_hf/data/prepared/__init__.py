"""The prepared folder `./ifllm`: written, and loaded by `datasets`.

* `folder`: how it looks; `shards`: its Parquet files; `prepare`: from a source to the folder
* `ifllm`: the `datasets` builder (its file name is the name of the dataset)
"""
