"""The model that is trained: `load` it, its adapter and the reference that was named."""
