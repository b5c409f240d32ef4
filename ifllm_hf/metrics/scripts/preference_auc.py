"""What `evaluate.load` runs for `preference_auc`."""

from ifllm_hf.metrics.modules import PreferenceAUC as PreferenceAUC
