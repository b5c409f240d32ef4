"""Events of collected sessions become ticks.

* `columns`: points column by column, each column asked at once whether it fits
* `rows`: the ticks of a session as arrays, page load by page load
* `session_ticks`: their characters and phases
* `table`: the columns of `schema.TICKS`
"""
