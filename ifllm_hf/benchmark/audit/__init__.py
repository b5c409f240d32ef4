"""Is there signal on my page? `ifllm audit`.

* `confidence_sequence`: an interval for a mean that holds at every look
* `scored_pairs`: pairs of answers with a score, and what of them cannot be used
* `readers_in_time`: one value for each reader, in the order in which they closed
* `decision`: yes, not yet, or no gain above so much, and why
* `run`: the audit; `report`: its text; `audit_command`: the command line
"""
