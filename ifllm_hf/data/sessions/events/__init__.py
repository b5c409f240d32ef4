"""Events of collected sessions become ticks.

* `page_loads`: which events fit, and which turn each belongs to
* `point_columns`: points column by column, each column asked at once whether it fits
* `session_arrays`: the ticks of a session as arrays, page load by page load
* `session_ticks`: their characters and phases
* `session_table`: the columns of `schema.TICKS`
"""
