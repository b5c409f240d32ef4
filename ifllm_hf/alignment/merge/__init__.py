"""What was trained becomes what is served: an adapter merged into 16-bit weights, and measured.

* `adapter`: what an adapter says of itself, where its base is, and whether both fit
* `weights`: the base as it was trained on, dequantised, merged, saved
* `questions`: the texts that both are compared on; `divergence`: how far they are apart
* `chat_template`: the run's prompt format for servers; `card`: the model card
* `run`: all of it, `ifllm merge`
"""
