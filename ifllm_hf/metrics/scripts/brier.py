"""What `evaluate.load` runs for `brier`."""

from ifllm_hf.metrics.modules import Brier as Brier
