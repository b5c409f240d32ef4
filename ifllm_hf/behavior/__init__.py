"""What the ticks of a turn say: the paper's features (`paper`) and our own (`features`)."""
