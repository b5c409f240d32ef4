"""Training the reward model: `config`, `examples` (turns to batches), `trainer`, `run`."""
