"""Labels from what readers did with answers: like, copy, regenerate, edit, go on.

acted_answers     a prepared folder with `messages` and `actions` -> questions with their answers
rules             what follows from an action: one small function each, for pairs and for answers
reliability       how often a rule agrees with ratings; its confidence
action_pairs      `ifllm label --source actions`
unpaired_labels   `ifllm label --unpaired`
action_report     what both say about the file that they wrote
label_command     the options of the command
"""
