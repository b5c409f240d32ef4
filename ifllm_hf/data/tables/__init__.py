"""The tables of a release: `turns`, `tasks`, `workers` (k-anonymous), `preferences`, `folds`."""
