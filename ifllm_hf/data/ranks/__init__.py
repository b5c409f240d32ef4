"""Collected sessions prepared in ranks: parts that processes or machines do side by side.

    .OUT.ranks/listing.json, sessions.parquet   which sessions there are, and whose rank each is
    .OUT.ranks/ranks/00003.json                 the record of a whole rank: its files and its counts
    .OUT.ranks/ranks/00003-5f2c9a17/            its shards

* `listing`: the sessions are listed once and cut into parts
* `rank`: one part becomes shards and a record, or nothing
* `engines`: ranks in this process, or in several; `clusters`: on several machines
* `exchange`: how ranks come from machines that share no disk; `one_rank`: what a cluster starts
* `join`: records and shards of all ranks become one prepared folder
* `run`: all of it; the same command goes on where it stopped
* `grow`: sessions that keep arriving; what was read before stays
"""
