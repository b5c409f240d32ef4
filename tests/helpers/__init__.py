"""What tests of several rooms make or run: no tests here.

* `prepared_folder`: a small prepared folder; `labelled_turns`: turns of known preference
* `reward_turns`, `reward_models`, `tiny_tokenizers`, `model_with_processor`, `processed_turn`: for
  the reward model
* `loopback`: a server on this machine; `loopback_hub`, `loopback_judge`: what it plays
"""
