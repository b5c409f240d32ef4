"""From preference pairs to a better language model: DPO with a confidence for every pair.

Map of the room (nothing heavy is imported here; each file is imported where it is used):

* `losses`: the formulas, on tensors.
* `dpo_config`: every setting of a run, checked before anything is downloaded.
* `pair_source`: open the pairs (IFLLM, a file, a folder, the Hub) and check them.
* `pair_format`: what the model will read: history, suffix, prompt template.
* `pair_collator`, `unpadded`: one batch; both answers of a pair in one row, without padding.
* `dpo`: the trainer, a small subclass of TRL's `DPOTrainer`; `named_reference`: its forward and its
  reference; `reference_cache`, `gradient_share`: what it keeps and what it reports.
* `policy`: the policy, its adapter and the named reference model.
* `tiny_models`: tiny random models and made-up pairs for dry runs on a CPU.
* `training_run`, `run_record`: what comes before and after training; what lies beside the weights.
* `dpo_run`, `sft_config`, `sft_run`: whole runs; `recipes/dpo.py` and `recipes/sft.py` call them,
  `recipe_arguments` reads their YAML and command line.

From models to a report on their answers:

* `judge_config`, `judge_prompts`: every setting; the questions of readers that training never saw.
* `generate`, `generate_transformers`, `generate_vllm`: answers, seeded by question, resumable.
* `judge_verdict`: the types that all judges share. `judge_rubric`, `judge_transport`,
  `judge_endpoint`: a model behind an endpoint. `judge_reward`, `judge_people`: the others.
* `judge_statistics`, `judge_report`, `judge_figure`: what verdicts say. `judge_pooled`: over
  several language models.
* `judge`: the whole run; `recipes/judge.py` calls it. `append_file` keeps what is paid for.

Models x label sources:

* `label_inputs`: what a labelling model may look at.
* `pipeline_config`, `pipeline_labels`, `pipeline_training`, `pipeline_judge`: the steps.
* `run_state`: what became of every run. `settings_file`: YAML into dataclasses.
* `pipeline`: the loop; `recipes/pipeline.py` calls it.
"""
