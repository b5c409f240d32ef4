"""What the ticks of a turn say.

* `reading_ticks`: the wall: only reading, only positions on the answers
* `answer_text`: characters, words, sentences and paragraphs of the answers
* `features`: our own features; `declaration`: how each is declared; `quantities`: unit and range
* `paper`: the features of the paper, exactly
* `pymovements_adapter`: to and from a package for eye-movement research
"""
