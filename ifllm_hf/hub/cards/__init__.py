"""The cards of datasets, models and Spaces; every number in them is counted.

* `dataset_card`, from `table_numbers` (questions, tasks, readers), `tick_numbers` and
  `column_meanings`
* `model_card`; `templates`: the words of all cards
* `card_figures`, with `shown_turn`: the figures of the dataset card, drawn by `ifllm_hf.plot`
"""
