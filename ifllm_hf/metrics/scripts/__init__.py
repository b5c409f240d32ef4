"""One file per metric, because `evaluate.load` takes the first metric class it finds in a file.

The classes themselves are in `modules`.
"""
