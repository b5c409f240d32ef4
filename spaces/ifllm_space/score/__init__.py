"""Score: what a small reward says of two answers, from the text alone and with behaviour.

`recording` checks what a visitor's mouse did, `score_view` makes of a turn what the page draws,
`trained_reward` asks the model that the operator named, `tab` builds the forms. The rewards and
what moved them are `ifllm_hf.reward`'s.
"""
