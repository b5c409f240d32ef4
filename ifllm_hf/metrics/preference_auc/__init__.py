"""The `evaluate` module `preference_auc`."""
