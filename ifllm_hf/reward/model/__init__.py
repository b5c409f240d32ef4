"""The reward model for transformers. All files here travel to the Hub with a model.

They import only each other, numpy, torch and transformers, so that `trust_remote_code=True` works
where this package is not installed.

* `configuration_ifllm`, `modeling_ifllm` (with `modeling_behavior_`, `_checks_`, `_outputs_`)
* `processing_ifllm`, `feature_extraction_ifllm`: from question, answers and ticks to tensors, by
  way of `behavior_ticks` (what may be seen), `behavior_arrays` and `token_alignment`
* `modeling_evidence_ifllm`: the evidence head; `evidence_inputs`: what it reads beside the ticks
* `pipeline_ifllm`: `pipeline("implicit-reward")`
"""
