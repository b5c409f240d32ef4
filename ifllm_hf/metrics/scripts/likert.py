"""What `evaluate.load` runs for `likert`."""

from ifllm_hf.metrics.modules import Likert as Likert
