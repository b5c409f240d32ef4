"""What tests of the reward model make: turns, texts, models, and what a run leaves."""
