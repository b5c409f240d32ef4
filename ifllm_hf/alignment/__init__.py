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

From models to a report on their answers:

* `judge_config`, `judge_prompts`: every setting; the questions of readers that training never saw.
* `generate`, `generate_transformers`, `generate_vllm`: answers, seeded by question, resumable.
* `judge_verdict`: the types that all judges share. `judge_rubric`, `judge_transport`,
  `judge_endpoint`: a model behind an endpoint. `judge_reward`, `judge_people`: the others.
* `judge_statistics`, `judge_report`, `judge_figure`: what verdicts say. `judge_pooled`: over several
  language models.
* `judge`: the whole run; `recipes/judge.py` calls it. `append_file` keeps what is paid for.

Models x label sources:

* `label_inputs`: what a labelling model may look at.
* `pipeline_config`, `pipeline_labels`, `pipeline_training`, `pipeline_judge`: the steps.
* `run_state`: what became of every run. `settings_file`: YAML into dataclasses.
* `pipeline`: the loop; `recipes/pipeline.py` calls it.
"""
