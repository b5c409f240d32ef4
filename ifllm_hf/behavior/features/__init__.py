"""Our own features, one file per family; `table` makes one row per turn out of them.

* per channel: `dwell`, `spread`, `scanpath`, `visits`, `fixations`, `scroll`
* across channels, sides and turns: `gaze_mouse`, `comparison`, `baseline`
"""
