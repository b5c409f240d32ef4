"""What `evaluate.load` runs for `pairwise_accuracy`."""

from ifllm_hf.metrics.modules import PairwiseAccuracy as PairwiseAccuracy
