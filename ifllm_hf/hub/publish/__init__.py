"""One commit per push, and plain words on failure: `dataset`, `model`, `space`."""
