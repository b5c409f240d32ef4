"""Collected sessions, from the files that the Space writes to the tables of a release.

* `event.schema.json`: what a browser may send and what every line of a file may hold;
  `event_3.schema.json`: the same of chat pages; `event_schema` decides by them what fits, here and
  in the server
* `session_file`: a file's lines, each kept or counted
* `events`: which events fit, and how they become ticks
* `pages`: sessions of chat pages, with messages and actions
* `shard`: many closed sessions in one Parquet file; `stored`: where each session of a folder lies;
  `packed`: packs them, and takes one out again
* `session_rows`: the rows that one session adds to the tables
* `origin`: which sessions lie in a folder or where a URL names one, and who may be read
* `past`: what was said before a turn, for models, readers and exports alike
* `collected`: a folder of sessions as `Recordings`, one at a time, so that prepare, features,
  benchmark and labels run on it unchanged; `sessions_card`: what its export says of itself
* `review`: a human decides on every question before it is public
"""
