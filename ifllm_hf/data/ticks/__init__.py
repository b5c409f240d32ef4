"""From the files of a conversation to one row per tick: an instant at which something was recorded.

* `merge`: the files become rows; `tick_table`: the finished table of a conversation
* `displayed_text`, `page_texts`, `alignment`: the turn and the character of each tick;
  `turn_agreement`: how well that fits what was seen
* `phase`: where reading ends
* `tick_arrays`: the ticks of a whole dataset as flat numpy arrays
"""
