"""From features to the probability that a reader prefers an answer."""
