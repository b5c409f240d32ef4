"""Sessions that arrive in waves: the policy of a wave writes what the readers of the next one see.

The loop of `recipes/refresh.yaml` where the truth can be computed; `recipes/known_truth.py` runs it
with `recipes/known-truth-waves.yaml`.

* `config`: how many waves, of whom, and the arms that are compared
* `arrivals`: what a wave of readers leaves, and all that has arrived so far
* `wave_run`: a wave from the answers that are shown to the true score of the model after it
* `run`: every wave that has no line yet; `report`, `figures`: what stands, from the lines alone
"""
