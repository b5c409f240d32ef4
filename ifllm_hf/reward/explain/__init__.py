"""What moved a score.

* `evidence_parts`: what an evidence head says, exactly, by second of reading; `in_words` says it
* `gradients`: which tokens and moments moved the transformers model
* `what_moved`: leave a word, a passage or a moment out, and score again: for any reward
"""
