"""From preference pairs to a better language model: DPO with a confidence for every pair.

Map of the room (nothing heavy is imported here; each file is imported where it is used):

* `losses`: the formulas, on tensors.
* `dpo_config`: every setting of a run, checked before anything is downloaded.
* `pair_source`: open the pairs (IFLLM, a file, a folder, the Hub) and check them.
* `pair_format`: what the model will read: history, suffix, prompt template.
* `dpo`: the trainer, a small subclass of TRL's `DPOTrainer`.
* `policy`: the policy, its adapter and the named reference model.
* `tiny_models`: tiny random models and made-up pairs for dry runs on a CPU.
* `run_record`: what is written beside the weights.
* `dpo_run`: the whole run; `recipes/dpo.py` calls it.
"""
