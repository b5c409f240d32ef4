"""The version of this package, for every room that writes it down."""

__version__ = "0.1.0"
