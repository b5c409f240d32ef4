"""From the files of a conversation to one row per tick.

A tick is one instant at which something was recorded. In a release pointer and gaze share a tick;
in collected sessions each event is a tick of its own.

* `merge`: the files become rows, without what was uploaded twice (`repeats`)
* `tick_table`: the finished table of a conversation
* `displayed_text`, `page_texts`, `alignment`: the turn and the character of each tick;
  `turn_agreement`: how well that fits what was seen
* `reading_end`: the rule that ends reading, hence the `phase` of each tick
* `tick_arrays`: the ticks of a whole dataset as flat numpy arrays
"""
