"""Training the reward model: `config`, `examples` (turns to batches), `trainer`, `run`.

`evidence` fits the head that is closed form, before the rest is trained.
"""
