"""What the runs of reward models, SFT and DPO share; it knows nothing of any of them.

* `setting`: one field; `arguments`, `settings_file`: from YAML and command line to dataclasses
* `checkpoints`: the output folder: is it free, where does a run go on, is the disk full
* `run_record`: `run.json`: settings, versions, data; `local_paths`: what must not be in a result
* `withdrawn`: models that learned from somebody who withdrew
* `append_file`: results that survive a kill; `tiny_models`: dry runs without network or GPU
"""
