"""Score: what words alone say of two answers, and what length and reading say, with reasons.

`recording` checks what a visitor's mouse did, `score_view` makes of a turn what the page draws,
`reasons` says in sentences what length and reading did, `trained_reward` asks the model that the
operator named, `tab` builds the forms. The rewards and what moved them are `ifllm_hf.reward`'s.
"""
