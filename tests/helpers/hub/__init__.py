"""What tests of pushing make."""
