"""Our own features, one file per family; `table` makes one row per turn out of them.

* per channel: `dwell`, `spread`, `scanpath`, `visits`, `fixations`, `scroll`
* across channels, sides and turns: `gaze_mouse`, `comparison`, `baseline`
* `by_shard`: the table of a prepared folder, one shard in memory at a time
"""
