"""What `evaluate.load` runs for `ece`."""

from ifllm_hf.metrics.modules import ECE as ECE
