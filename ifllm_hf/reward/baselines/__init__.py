"""Small models on features or text, behind one protocol: `fit`, `predict_proba`, `save`, `load`.

* `protocol`: what is predicted, and what the benchmark asks of a model; `choice`: which models run
* `length_rule`: the longer answer wins, and the other models without behaviour
* `linear`: antisymmetric logistic regression on a few log ratios
* `late_reading`: length and the end of reading, averaged over ways to measure it: the best so far
* `boosting`, `forest`: gradient boosting; the paper's random forest, for comparison
* `text_models`: TF-IDF differences; a sentence encoder, where one is at hand
* `pointwise`: ratings, and better-than-previous
* `by_fold`: words alone and late reading side by side, one pair per fold of readers
* `inputs`: from rows to arrays; `saving`: skops archives, where loading runs no code of the file
"""
