"""The model that is simply there: the evidence head alone, fitted on the whole release.

* `shipped`: where its folder lies
* `heads`: which of a model's heads has learned from which reader
* `build`: fits the heads on a prepared folder and writes them (`make late-reading`)
* `late-reading/`: the folder, weights and card
"""
