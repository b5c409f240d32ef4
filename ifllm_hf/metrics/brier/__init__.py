"""The `evaluate` module `brier`."""
