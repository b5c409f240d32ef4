"""What several tests make or run; no tests here.

* `prepared_folder`, `recorded_turns`: folders of turns; `labelled_turns`, `reading_turns`,
  `dwell_turns`, `hand_made`: turns and ticks whose truth is known; `made_up_sessions`: session
  files with known truth
* `alignment`, `reward`, `spaces`: what the tests of one room share
* `loopback`: a server on this machine; `loopback_hub`, `loopback_judge`: what it plays
* `paper_of_release`: the paper's tables of the real release, made once
* `fresh_process`: scripts in a process of their own
"""
