"""Two answers, and a minute of a visitor's mouse on them."""

from __future__ import annotations

from typing import Any

LEFT, RIGHT = "Rayleigh scattering.", "It reflects the sea. 🙂"
MINUTE: dict[str, Any] = {
    "t_ms": [0.0, 25.0, 1025.0, 2000.0, 3000.0],
    "on": [-1, 0, 0, 1, 1],
    "char": [-1, 0, 19, 0, 21],
}
