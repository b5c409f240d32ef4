"""Preference pairs from anywhere, as what a language model reads.

* `config`: which pairs, and how a question looks to the model; without torch and TRL
* `source`: the one door: TRL's explicit pairs, whatever the layout, or a refusal
* `opening`: where datasets are: IFLLM, a file, a folder, the Hub
* `layout`, `messages`, `own_template`: what one row becomes (docs/preference-data.md)
* `format`: history, suffix, prompt template; one fold of readers held out
* `prompt_tokens`: what a model reads before an answer, in training and when it is asked
* `collator`, `unpadded`: one batch; both answers of a pair in one row, without padding
* `attention`, `head`: the two layers that know of it
* `balance`: batches of about equal tokens for processes that wait for each other
"""
