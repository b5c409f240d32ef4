"""What the runs of reward models, SFT and DPO share; it knows nothing of any of them.

* `recipe_arguments` (flat), `settings_file` (nested): from YAML and command line to dataclasses;
  `setting`: one field of them
* `without_config`: what a recipe does with no argument (`default_recipe`: which model fits;
  `device`: what this machine is)
* `checkpoints`: the output folder: is it free, where does a run go on, is the disk full
* `run_record`: `run.json`: settings, versions, data; `local_paths`: what must not be in a result
* `withdrawn_readers`: models that learned from somebody who withdrew
* `append_file`: results that survive a kill; `tiny_models`: dry runs without network or GPU
"""
