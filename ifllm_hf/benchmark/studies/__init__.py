"""Questions beside the table.

* `probe`: did the pointer see the click? `curves`: more readers, more labels
* `readers`: how readers differ, by `reader_styles` and `channel_links`
* `findings`: sentences that no table has a column for
* `reward_folds`: the transformers reward model, one for each fold of readers
"""
