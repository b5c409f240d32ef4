"""Sessions of anybody's chat pages (version 3 of the schema), as the same tables.

* `told`: what each page load told: texts by number, turns, runs; which events fit
* `stored_texts`: the messages as the page's owner told them, each text of each with its key
* `shown_texts`: which stored text each text on the page is, and where its characters stand
* `page_rows`: rows of `messages`, `actions` and `turns`
* `page_ticks`: events as those of version 2, so that the same code makes ticks of both
* `page_session`: all of it for one session
"""
