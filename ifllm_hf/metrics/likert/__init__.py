"""The `evaluate` module `likert`."""
