"""The `evaluate` module `pairwise_accuracy`."""
