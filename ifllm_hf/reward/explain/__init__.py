"""What moved a score.

* `gradients`: which tokens and moments moved the transformers model
* `what_moved`: leave a word, a passage or a moment out, and score again: for any reward
"""
