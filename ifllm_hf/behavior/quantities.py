"""What features measure: unit, smallest and largest possible value; `Feature` takes all three."""

INF = float("inf")
MS = ("ms", 0.0, INF)
NUMBER = ("1", 0.0, INF)
CHARS = ("characters", 0.0, INF)
CHARS_PER_S = ("characters/s", 0.0, INF)
SHARE = ("1", 0.0, 1.0)
SIGN = ("1", -1.0, 1.0)
LOGARITHM = ("1", -INF, INF)
