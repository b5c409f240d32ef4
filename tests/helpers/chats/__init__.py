"""What tests of `alignment` make."""
