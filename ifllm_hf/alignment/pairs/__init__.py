"""Preference pairs from anywhere, as what a language model reads.

* `source`: open them (IFLLM, a file, a folder, the Hub) and refuse the untrainable
* `format`: history, suffix, prompt template; one fold of readers held out
* `collator`, `unpadded`: one batch; both answers of a pair in one row, without padding
"""
