"""Preference pairs from anywhere, as what a language model reads.

* `config`: which pairs, and how a question looks to the model; without torch and TRL
* `source`: open them (IFLLM, a file, a folder, the Hub) and refuse the untrainable
* `format`: history, suffix, prompt template; one fold of readers held out
* `collator`, `unpadded`: one batch; both answers of a pair in one row, without padding
"""
