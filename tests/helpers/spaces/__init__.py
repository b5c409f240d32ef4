"""What tests of the Space make, and how they look at a page."""
